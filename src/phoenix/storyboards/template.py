"""The planner without a language model: it cuts the idea into beats, and each clip shows a beat in another framing.

It understands no word of the idea, and says so. Pure.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from phoenix.contract import MAX_STORYBOARD_CLIPS, ReelRequest, StoryboardRequest
from phoenix.storyboards.limits import PlanLimits
from phoenix.storyboards.plan import Plan, PlannedClip, clips_of, find_characters, text_budget
from phoenix.storyboards.spoken_length import cut_to_words, words_in

_BREAKS = re.compile(r"(?<=[.!?…;。])\s+|\n+|,?\s+(?:and )?then\s+", re.IGNORECASE)
_LEADING_THEN = re.compile(r"^(?:and )?then,?\s+", re.IGNORECASE)
_FRAMINGS = (
    "Wide establishing shot",
    "Medium shot, slow push in",
    "Close-up on the details",
    "Tracking shot from the side",
    "High angle, looking down",
    "Low angle, looking up",
)
_LAST_FRAMING = "Final wide shot, slow pull back"
_USUAL_CLIPS = 3
"""For an idea with fewer beats: a beginning, a middle and an end."""
_MAX_TITLE = 60
_MAX_CAPTION = 90
_MAX_NARRATION = 2000


def plan_by_template(request: StoryboardRequest, wishes: Sequence[str], limits: PlanLimits) -> Plan:
    """The plan for an idea. `wishes` are the messages since: each becomes a part of the idea, at its end."""
    beats = [beat for text in (request.idea, *wishes) for beat in split_beats(text)]
    count = limits.num_clips or min(max(len(beats), _USUAL_CLIPS), limits.max_clips, MAX_STORYBOARD_CLIPS)
    longest = text_budget(request)
    shown = spread_beats(beats, count)
    texts = [_cut(_frame(beat, index, count), longest) for index, beat in enumerate(shown)]
    named = [find_characters(text, request.characters) for text in texts]
    if not any(named):
        # An idea that names nobody is about all of them.
        named = [tuple(each.name for each in request.characters)] * count
    length_s = limits.length_s(count)
    # The text of a beat that fills several clips is in the first of them.
    words = ["" if index and beat == shown[index - 1] else beat for index, beat in enumerate(shown)]
    clips = tuple(
        PlannedClip(text, names, length_s, *_texts_of(beat, limits.clip_s(length_s)))
        for text, names, beat in zip(texts, named, words, strict=True)
    )
    return Plan(title=_title_of(request), message=_explain(count, wishes), clips=clips)


def extend_by_template(
    request: StoryboardRequest, reel: ReelRequest, wishes: Sequence[str], limits: PlanLimits
) -> Plan:
    """The plan for a reel that the user has changed: its clips stay, and the beats of `wishes` come after them."""
    beats = [beat for text in wishes for beat in split_beats(text)][: max(0, limits.max_clips - len(reel.clips))]
    texts = [_cut(_frame(beat, index, len(beats)), text_budget(request)) for index, beat in enumerate(beats)]
    added = tuple(
        PlannedClip(text, find_characters(text, request.characters), None, *_texts_of(beat, limits.clip_s(None)))
        for text, beat in zip(texts, beats, strict=True)
    )
    count = len(reel.clips) + len(added)
    return Plan(
        title=reel.title or _title_of(request), message=_explain(count, wishes), clips=(*clips_of(reel), *added)
    )


def _title_of(request: StoryboardRequest) -> str:
    return _cut(" ".join(request.idea.split()), _MAX_TITLE)


def split_beats(text: str) -> list[str]:
    """The sentences and steps of a text; the whole text if it has no breaks."""
    beats = [_LEADING_THEN.sub("", beat.strip(" \t.;,")) for beat in _BREAKS.split(text)]
    return [beat for beat in beats if beat] or [text.strip()]


def spread_beats(beats: Sequence[str], count: int) -> list[str]:
    """One text for each of `count` clips, in the order of the beats: some beats are repeated, or some are joined."""
    if count >= len(beats):
        return [beats[index * len(beats) // count] for index in range(count)]
    bounds = [index * len(beats) // count for index in range(count + 1)]
    return ["; ".join(beats[first:end]) for first, end in pairwise(bounds)]


def _frame(beat: str, index: int, count: int) -> str:
    is_last = index == count - 1 and count > 1
    return f"{_LAST_FRAMING if is_last else _FRAMINGS[index % len(_FRAMINGS)]}: {beat}"


def _texts_of(beat: str, length_s: float) -> tuple[str, str]:
    """The caption and the narration of a clip of that length, if the request wishes them."""
    return _cut(beat, _MAX_CAPTION), cut_to_words(beat, words_in(length_s))[:_MAX_NARRATION]


def _cut(text: str, longest: int) -> str:
    """The text with at most `longest` characters, without the part of a word at its end."""
    if len(text) <= longest:
        return text
    return text[: longest - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def _explain(count: int, wishes: Sequence[str]) -> str:
    clips = "one clip" if count == 1 else f"{count} clips"
    added = " Your messages were added to it as they are." if wishes else ""
    return (
        f"A template made {clips} of your idea, because no language model is used here: it cut the idea into beats and"
        f" gave each clip a framing.{added} Change the prompts of the reel as you like."
    )
