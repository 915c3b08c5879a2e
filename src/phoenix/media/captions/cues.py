"""Decides which text is shown at which time of a reel: captions for their clips, and narration word by word. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from phoenix.contract import ResolvedReel, SpokenWord
from phoenix.media.reel.spans import NONE_HELD, span_of_clip, timeline_of

_MOST_CHARACTERS = 42
_PAUSE_S = 0.6
"""A pause that ends a group of words."""
_STAYS_S = 0.4
"""How long words stay after they were spoken, unless others follow."""
_SENTENCE_ENDS = (".", "!", "?", "…", "\u3002", "\uff01", "\uff1f")
_SHORTEST_SENTENCE = 12
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class Cue:
    """Text that is shown from `start_s` to `end_s`, in seconds from the start of the reel."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class ClipTimes:
    """When a clip is seen in the reel, in seconds. A crossfade belongs half to one clip and half to the other.

    `begins_s` is its first frame, and `next_s` the first frame of the next clip, or the end of the reel.
    """

    start_s: float
    end_s: float
    begins_s: float
    next_s: float

    @property
    def available_s(self) -> float:
        """How long a narration may be: it begins with the clip, and ends before the next clip begins."""
        return self.next_s - self.begins_s


def times_of_clips(reel: ResolvedReel, held: Mapping[int, int] = NONE_HELD) -> list[ClipTimes]:
    """The times of the clips of a reel, by index. They follow from the request.

    `held`: for how many frames a clip holds its last frame, by index.
    """
    timeline = timeline_of(reel, held)
    before = 1 if reel.extends else 0
    fps = timeline.picture.fps
    times: list[ClipTimes] = []
    for part in range(before, len(timeline.counts)):
        shared = timeline.overlaps[part - 1] if part > 0 else 0
        after = timeline.overlaps[part] if part < len(timeline.overlaps) else 0
        begins, ends = timeline.start_of(part), timeline.start_of(part) + timeline.counts[part]
        frames = (begins + shared / 2, ends - after / 2, begins, timeline.end_of(part))
        times.append(ClipTimes(*(float(frame / fps) for frame in frames)))
    return times


def frames_to_hold(reel: ResolvedReel, lengths_s: Mapping[int, float]) -> dict[int, int]:
    """For how many frames each clip holds its last frame, so that its narration ends before the next clip begins.

    `lengths_s`: of the narration, by the index of its clip.
    """
    times = times_of_clips(reel)
    missing = {index: ceil((length_s - times[index].available_s) * reel.fps) for index, length_s in lengths_s.items()}
    return {index: frames for index, frames in missing.items() if frames > 0}


def plan_cues(
    reel: ResolvedReel, spoken: Mapping[int, Sequence[SpokenWord]], held: Mapping[int, int] = NONE_HELD
) -> list[Cue]:
    """The cues of a reel, in order and without overlaps.

    `spoken`: the words of the narrated clips by index, in seconds from the start of the narration. A clip with a
    caption shows the caption, and another narrated clip the words as they are spoken. `held` as in `times_of_clips`.
    """
    cues: list[Cue] = []
    for clip, times in zip(reel.clips, times_of_clips(reel, held), strict=True):
        if clip.caption.strip():
            cues.append(Cue(times.start_s, times.end_s, clip.caption))
        elif words := spoken.get(clip.index):
            cues += _cues_of_words(words, times)
    # Words of a clip that fades in may be spoken before the caption of the clip before it has ended.
    nexts = [*cues[1:], None]
    shortened = [
        cue if after is None else Cue(cue.start_s, min(cue.end_s, after.start_s), cue.text)
        for cue, after in zip(cues, nexts, strict=False)
    ]
    return [cue for cue in shortened if cue.end_s > cue.start_s]


def cues_of_clip(
    reel: ResolvedReel, spoken: Mapping[int, Sequence[SpokenWord]], index: int, held: Mapping[int, int] = NONE_HELD
) -> list[Cue]:
    """The cues that begin while the segments of a clip are played.

    They follow from `spoken` of this clip and of the clips before it. `held` as in `times_of_clips`.
    """
    fps = reel.fps
    span = span_of_clip(reel, index, held)
    start_s, end_s = span.start / fps - _ROUNDING_S, span.end / fps - _ROUNDING_S
    return [cue for cue in plan_cues(reel, spoken, held) if start_s <= cue.start_s < end_s]


def _cues_of_words(words: Sequence[SpokenWord], times: ClipTimes) -> list[Cue]:
    groups = list(_group(words))
    starts_s = [times.begins_s + group[0].start_s for group in groups]
    nexts_s = [*starts_s[1:], times.end_s]
    cues: list[Cue] = []
    for group, start_s, next_s in zip(groups, starts_s, nexts_s, strict=True):
        end_s = min(times.begins_s + group[-1].end_s + _STAYS_S, next_s, times.end_s)
        cues.append(Cue(start_s, end_s, " ".join(word.text for word in group)))
    return cues


def _group(words: Sequence[SpokenWord]) -> Iterator[list[SpokenWord]]:
    """Groups of words that are shown together: of a line at most, up to a pause or to the end of a sentence."""
    group: list[SpokenWord] = []
    for word in words:
        length = sum(len(each.text) + 1 for each in group)
        if group and (
            length + len(word.text) > _MOST_CHARACTERS
            or word.start_s - group[-1].end_s > _PAUSE_S
            or (group[-1].text.endswith(_SENTENCE_ENDS) and length > _SHORTEST_SENTENCE)
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def spread_words(text: str, duration_s: float) -> list[SpokenWord]:
    """The words of a speech whose times are not known: each takes a share of the time by its length."""
    words = text.split()
    total = sum(len(word) + 1 for word in words)
    spread: list[SpokenWord] = []
    done = 0
    for word in words:
        start_s = done / total * duration_s
        done += len(word) + 1
        spread.append(SpokenWord(text=word, start_s=round(start_s, 3), end_s=round(done / total * duration_s, 3)))
    return spread
