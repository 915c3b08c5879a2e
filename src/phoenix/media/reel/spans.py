"""When each part of a reel is seen and heard, in frames and samples: known before any clip is rendered. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from phoenix.contract import ResolvedReel, Transition
from phoenix.media.timeline import SAMPLE_RATE_HZ, Picture

PACKET_SAMPLES = 1024
"""Samples per packet of AAC."""
MARGIN_PACKETS = 2
"""How far the sound of a span ends before its picture, and how much more of it the encoder hears at both ends."""
NONE_HELD: Mapping[int, int] = {}


def overlaps_of(counts: Sequence[int], overlap: int) -> list[int]:
    """Returns the frames that each clip shares with the next clip: `overlap`, or less if a clip is too short.

    A clip between two others shares at most half of its frames with each, so that three clips are never visible at a
    time. The first and the last clip share all of their frames but one at most.
    """
    last = len(counts) - 1
    spare = [count - 1 if index in (0, last) else count // 2 for index, count in enumerate(counts)]
    return [max(0, min(overlap, spare[index], spare[index + 1])) for index in range(last)]


@dataclass(frozen=True)
class SpanSource:
    """Frames `start` to `end` of part `part`, at the frame rate of the reel."""

    part: int
    start: int
    end: int


@dataclass(frozen=True)
class Span:
    """Frames `start` to `end` of the reel, and their sources. Sources i and i + 1 share `overlaps[i]` frames."""

    start: int
    end: int
    sources: tuple[SpanSource, ...]
    overlaps: tuple[int, ...]
    is_last: bool


@dataclass(frozen=True)
class ReelTimeline:
    """The parts of a reel, in frames. Part i has `counts[i]`, and shares `overlaps[i]` with the next part."""

    picture: Picture
    counts: tuple[int, ...]
    overlaps: tuple[int, ...]

    def start_of(self, part: int) -> int:
        """The first frame of a part in the reel."""
        return sum(self.counts[:part]) - sum(self.overlaps[:part])

    def end_of(self, part: int) -> int:
        """The frame of the reel at which the span of a part ends: where the next part begins."""
        return self.start_of(part) + self.counts[part] - self._shared_after(part)

    def span_of(self, parts: range) -> Span:
        """The span of these parts, in order. It begins with the crossfade from the part before, if there is one."""
        first, last = parts[0], parts[-1]
        sources = [SpanSource(part, 0, self.counts[part]) for part in parts]
        overlaps = list(self.overlaps[first:last])
        sources[-1] = replace(sources[-1], end=self.counts[last] - self._shared_after(last))
        if first > 0 and self.overlaps[first - 1] > 0:
            count, shared = self.counts[first - 1], self.overlaps[first - 1]
            sources.insert(0, SpanSource(first - 1, count - shared, count))
            overlaps.insert(0, shared)
        is_last = last == len(self.counts) - 1
        return Span(self.start_of(first), self.end_of(last), tuple(sources), tuple(overlaps), is_last)

    def packets_of(self, span: Span) -> range:
        """The packets of sound of a span, counted from the start of the reel."""
        end = ceil(self.sample_at(span.end) / PACKET_SAMPLES) if span.is_last else self._last_packet(span.end)
        return range(self._last_packet(span.start), end)

    def parts_heard(self, span: Span) -> range:
        """The parts that are seen or heard in a span, or that the encoder of its sound has to hear."""
        first_sample = max(0, self.packets_of(span)[0] - MARGIN_PACKETS) * PACKET_SAMPLES
        ends = [self.start_of(part) + count for part, count in enumerate(self.counts)]
        first = next(part for part, end in enumerate(ends) if self.sample_at(end) > first_sample)
        return range(min(first, span.sources[0].part), span.sources[-1].part + 1)

    def sample_at(self, frame: int) -> int:
        """The sample of the reel that is heard when a frame appears."""
        return round(frame / self.picture.fps * SAMPLE_RATE_HZ)

    def _shared_after(self, part: int) -> int:
        return self.overlaps[part] if part < len(self.overlaps) else 0

    def _last_packet(self, frame: int) -> int:
        return max(0, self.sample_at(frame) // PACKET_SAMPLES - MARGIN_PACKETS)


def plan_timeline(counts: Sequence[int], transition: Transition, picture: Picture) -> ReelTimeline:
    """The timeline of a reel whose parts have these numbers of frames."""
    overlaps = [0] * (len(counts) - 1)
    if transition.kind == "crossfade":
        overlaps = overlaps_of(counts, max(1, round(transition.duration_s * picture.fps)))
    return ReelTimeline(picture, tuple(counts), tuple(overlaps))


def timeline_of(reel: ResolvedReel, held: Mapping[int, int] = NONE_HELD) -> ReelTimeline:
    """The timeline of a reel, known before any clip is rendered. A clip that the reel extends is its first part.

    `held`: for how many frames a clip holds its last frame, by index.
    """
    picture = Picture(max(2, reel.width & ~1), max(2, reel.height & ~1), Fraction(reel.fps))
    lengths_s = [Fraction(clip.num_output_frames, clip.output_fps or clip.fps) for clip in reel.clips]
    if reel.extends is not None:
        lengths_s.insert(0, Fraction(reel.extends.duration_s))
    before = 1 if reel.extends else 0
    counts = [max(1, round(length_s * reel.fps)) + held.get(at - before, 0) for at, length_s in enumerate(lengths_s)]
    return plan_timeline(counts, reel.transition, picture)


def span_of_clip(reel: ResolvedReel, index: int, held: Mapping[int, int] = NONE_HELD) -> Span:
    """What the segments of a clip show. The segments of the first clip also show the clip that the reel extends.

    `held` as in `timeline_of`.
    """
    before = 1 if reel.extends else 0
    return timeline_of(reel, held).span_of(range(index + before if index else 0, index + before + 1))
