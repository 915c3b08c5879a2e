"""Divides what is known of a job into passages that a sentence model can read. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_PASSAGES = 16
PASSAGE_LENGTH = 500
"""Characters that make a passage full. Small models read about twice as many, and blur what is longer."""

_CLIP_TEXTS = ("prompt", "caption", "narration")


def passages_of_job(request: Mapping[str, Any], *, title: str | None, tags: Sequence[str]) -> list[str]:
    """The passages of a job: its title and tags, then its clips in order. Short texts share one.

    `request`: the resolved request as it is stored. Metadata are not about what a job shows. Texts beyond
    `MAX_PASSAGES` passages are left out.
    """
    passages: list[str] = []
    passage = ""
    for text in _list_texts(request, title, tags):
        if passage and len(passage) + len(text) > PASSAGE_LENGTH:
            passages.append(passage)
            passage = ""
        passage = f"{passage}\n{text}" if passage else text
    return [*passages, *([passage] if passage else [])][:MAX_PASSAGES]


def _list_texts(request: Mapping[str, Any], title: str | None, tags: Sequence[str]) -> Iterator[str]:
    heading = " ".join([title or "", *tags]).strip()
    if heading:
        yield heading
    for clip in request.get("clips") or ():
        found = (clip.get(name) for name in _CLIP_TEXTS)
        text = " ".join(" ".join(each.split()) for each in found if isinstance(each, str) and each.strip())
        if text:
            yield text
