"""What is searched of a job, and what a search looks for, as words that mean the same on both databases. Pure.

A word is a run of up to 64 letters and digits, without case and accents. Scripts without spaces between words, such as
Chinese, have a word for each character, and neighbors are found as a phrase.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from phoenix.contract import Metadata

MAX_TEXT_LENGTH = 100_000
"""Characters that are searched of a job. PostgreSQL has room for the words of about three times as many in one row."""

_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")
# Thai, Lao, Myanmar, Khmer, kana, and the ideographs.
_UNSPACED = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]{{1,64}}")
_ASCII_WORD = re.compile(r"[a-z0-9]{1,64}")
_PART_OF_QUERY = re.compile(r'"([^"]*)"|([^\s"]+)')
_CLIP_TEXTS = ("prompt", "caption", "narration")
_MIN_BEGINNING = 3


def split_words(text: str) -> list[str]:
    """The words of a text, in order."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    # Composed again, because Korean syllables were taken apart.
    return _WORD.findall(unicodedata.normalize("NFC", letters))


@dataclass(frozen=True)
class SearchWords:
    """The words of one job, separated by spaces.

    `title`: of its title and tags. `text`: of its clips and metadata. `filters`: marks that no text can contain.
    """

    title: str
    text: str
    filters: str


def words_of_job(
    request: Mapping[str, Any],
    *,
    owner_id: str,
    title: str | None,
    tags: Sequence[str],
    metadata: Metadata,
    favorite: bool,
) -> SearchWords:
    """What is searched of a job. `request`: the resolved request as it is stored."""
    clips = request.get("clips") or ()
    texts = [clip.get(name) for clip in clips for name in _CLIP_TEXTS]
    text = "\n".join([*(each for each in texts if isinstance(each, str)), *metadata.values()])
    filters = Filters(owner_id, tuple(tags), metadata, favorite or None)
    return SearchWords(
        " ".join(split_words("\n".join([title or "", *tags]))),
        " ".join(split_words(text[:MAX_TEXT_LENGTH]))[:MAX_TEXT_LENGTH],
        " ".join(filters.required),
    )


@dataclass(frozen=True)
class Filters:
    """Exact values that a job has. As words of the index, they cost a search no look at the job itself."""

    owner_id: str
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] | None = None
    favorite: bool | None = None

    @property
    def required(self) -> list[str]:
        """The marks that a job must have."""
        marks = [_mark("o", self.owner_id), *(_mark("t", tag.casefold()) for tag in self.tags)]
        marks += [_mark("m", f"{key}\0{value}") for key, value in (self.metadata or {}).items()]
        return [*marks, _FAVORITE] if self.favorite else marks

    @property
    def excluded(self) -> list[str]:
        """The marks that a job must not have."""
        return [_FAVORITE] if self.favorite is False else []


_FAVORITE = "=f"


def _mark(kind: str, value: str) -> str:
    # No word of a text begins with this character.
    return f"={kind}{blake2b(value.encode(), digest_size=8).hexdigest()}"


Phrase = Sequence[str]
"""Words that follow each other."""


def split_query(text: str) -> list[Phrase]:
    """The phrases of a query: its words, and the texts in quotes. Every text is a query; one without words has none."""
    parts = (split_words(quoted or plain) for quoted, plain in _PART_OF_QUERY.findall(text))
    return [tuple(part) for part in parts if part]


def may_begin(phrase: Phrase) -> bool:
    """Whether the last word of a phrase is long enough to be looked for as the beginning of longer words."""
    return len(phrase[-1]) >= _MIN_BEGINNING
