"""A plan: what a planner has written, before it is a reel. Composes the prompts and the reel request of it. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from phoenix.contract import MAX_PROMPT_LENGTH, CharacterRequest, ReelRequest, StoryboardRequest
from phoenix.storyboards.limits import PlanLimits

Document = dict[str, Any]


@dataclass(frozen=True)
class PlannedClip:
    """One clip of a plan: what it shows, the names of the characters in it, and its length in seconds."""

    text: str
    characters: tuple[str, ...] = ()
    duration_s: float | None = None
    """None is the default of the model."""
    caption: str | None = None
    """None leaves it as it is, and an empty text stands for no caption."""
    narration: str | None = None
    """Like `caption`."""


@dataclass(frozen=True)
class Plan:
    """What a planner has written. `message` is what it says to the user about it."""

    title: str
    message: str
    clips: tuple[PlannedClip, ...]
    style: str = ""
    """For every clip. Empty where the request has one, or where the planner wants none."""
    characters: tuple[CharacterRequest, ...] = ()
    """Those that the planner has added to the characters of the request."""


def compose_reel(
    plan: Plan,
    request: StoryboardRequest,
    limits: PlanLimits,
    *,
    earlier: ReelRequest | None,
    draw_seed: Callable[[], int],
) -> Document:
    """The body of POST /v1/reels for a plan, unchecked.

    A clip whose prompt is in `earlier` keeps its seed, so that a reel of the changed storyboard reuses its file. What a
    user has added to `earlier` stays: to the reel, and to the clips whose prompts stay.
    """
    style = request.style or plan.style
    known = {each.name.casefold(): each for each in (*plan.characters, *request.characters)}
    before: Document = earlier.model_dump(mode="json", exclude_unset=True) if earlier else {}
    kept = {clip["prompt"]: clip for clip in before.get("clips", ())}
    clips: list[Document] = []
    for planned in plan.clips:
        shown = [known[name.casefold()] for name in planned.characters if name.casefold() in known]
        prompt = planned.text if planned.text in kept else compose_prompt(planned.text, shown, style)
        clip: Document = {"seed": draw_seed(), **kept.get(prompt, {}), "prompt": prompt}
        if limits.duration_s is None and planned.duration_s is not None:
            clip["duration_s"] = planned.duration_s
        clips.append(_with_texts(clip, planned, request))
    body: Document = {"model": limits.model.id, "title": plan.title}
    if limits.aspect_ratio is not None:
        body["aspect_ratio"] = limits.aspect_ratio
    if limits.duration_s is not None:
        body["duration_s"] = limits.duration_s
    if request.narrate:
        # A voice may take longer than its words let expect.
        body |= {"fit_narration": True} | ({"voice": request.voice} if request.voice else {})
    return {**body, **before, "title": plan.title, "clips": clips}


def _with_texts(clip: Document, planned: PlannedClip, request: StoryboardRequest) -> Document:
    """The clip with the caption and the narration of its plan, as far as the request wishes them."""
    wished = {"caption": (request.caption, planned.caption), "narration": (request.narrate, planned.narration)}
    texts = {name: text.strip() for name, (is_wished, text) in wished.items() if is_wished and text is not None}
    rest = {name: value for name, value in clip.items() if name not in texts}
    return rest | {name: text for name, text in texts.items() if text}


def clips_of(reel: ReelRequest) -> tuple[PlannedClip, ...]:
    """The clips of a reel as a plan has them. Their prompts have their characters and their style already."""
    return tuple(PlannedClip(clip.prompt, (), clip.duration_s, clip.caption, clip.narration) for clip in reel.clips)


def compose_prompt(text: str, characters: Sequence[CharacterRequest], style: str) -> str:
    """The prompt of one clip. A model renders each clip alone, so each prompt says how what it shows looks."""
    parts = [_as_sentence(text)]
    parts += [_as_sentence(f"{each.name}: {each.description}") for each in characters if each.description not in text]
    if style and style.casefold() not in text.casefold():
        parts.append(_as_sentence(f"Style: {style}"))
    return " ".join(parts)


def find_characters(text: str, characters: Sequence[CharacterRequest]) -> tuple[str, ...]:
    """The names of the characters that the text mentions, as whole words."""
    return tuple(
        each.name
        for each in characters
        if re.search(rf"(?<!\w){re.escape(each.name.casefold())}(?!\w)", text.casefold())
    )


def text_budget(request: StoryboardRequest) -> int:
    """How many characters the text of a clip may have, so that its prompt is not too long with all that is added."""
    added = compose_prompt("x", request.characters, request.style or "")
    return MAX_PROMPT_LENGTH - len(added)


def _as_sentence(text: str) -> str:
    stripped = text.strip()
    return stripped if stripped.endswith((".", "!", "?", "…", "。")) else f"{stripped}."
