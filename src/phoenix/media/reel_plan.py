"""Plans in frames how clips become one reel: how many each gives, what they share, what one command joins. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from phoenix.contract.artifacts import MediaInfo
from phoenix.media.commands.video import Picture, Segment

# Memory of a crossfade graph grows with its inputs (280 MiB for 15 of 480p), so a long reel takes several.
MAX_INPUTS = 8


@dataclass(frozen=True)
class Chunk:
    """Segments that one command joins; `overlaps[i]` frames are shared by segments i and i + 1."""

    segments: tuple[Segment, ...]
    overlaps: tuple[int, ...]

    @property
    def num_frames(self) -> int:
        return sum(segment.num_frames for segment in self.segments) - sum(self.overlaps)


def picture_of(info: MediaInfo) -> Picture:
    """The size and frame rate that the other clips are brought to; H.264 needs even sizes."""
    assert info.width is not None
    assert info.height is not None
    return Picture(max(2, info.width & ~1), max(2, info.height & ~1), exact_fps(info.fps or 0))


def exact_fps(fps: float) -> Fraction:
    """The rate that a decimal stands for: 29.97002997 is 30000/1001."""
    return max(Fraction(1), Fraction(fps).limit_denominator(1001))


def frames_at(fps: Fraction, own_fps: float, num_frames: int, duration_s: float) -> int:
    """How many frames a clip has once brought to `fps`."""
    if exact_fps(own_fps) == fps:
        return num_frames
    return max(1, round(Fraction(duration_s) * fps))


def overlaps_of(counts: Sequence[int], wanted: int) -> list[int]:
    """Frames that each clip shares with the next: `wanted`, or as many as the shorter of the two can spare.

    A clip between two others spares half of its frames to each, so that no three clips are seen at once; one at an
    end keeps a frame of its own.
    """
    last = len(counts) - 1
    spare = [count - 1 if index in (0, last) else count // 2 for index, count in enumerate(counts)]
    return [max(0, min(wanted, spare[index], spare[index + 1])) for index in range(last)]


def chunks_of(
    paths: Sequence[Path], counts: Sequence[int], overlaps: Sequence[int], max_inputs: int = MAX_INPUTS
) -> list[Chunk]:
    """Splits a reel into commands whose results follow one another without a seam.

    Where a chunk is full, the split goes through the clip in hand, between its two crossfades: so each frame is
    encoded once, however long the reel.
    """
    chunks: list[Chunk] = []
    segments = [Segment(paths[0], 0, counts[0])]
    shared: list[int] = []
    for index, overlap in enumerate(overlaps):
        if overlap == 0:
            chunks.append(Chunk(tuple(segments), tuple(shared)))
            segments, shared = [], []
        elif len(segments) == max_inputs:
            whole = segments.pop()
            split = _middle(whole, before=shared[-1], after=overlap)
            chunks.append(Chunk((*segments, Segment(whole.path, whole.start, split)), tuple(shared)))
            segments, shared = [Segment(whole.path, split, whole.end)], [overlap]
        else:
            shared.append(overlap)
        segments.append(Segment(paths[index + 1], 0, counts[index + 1]))
    return [*chunks, Chunk(tuple(segments), tuple(shared))]


def _middle(segment: Segment, *, before: int, after: int) -> int:
    first, last = segment.start + before, segment.end - after
    return first + (last - first) // 2
