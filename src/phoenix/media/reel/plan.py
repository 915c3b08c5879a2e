"""Plans the join of clips to a reel, in frames: frames per clip, overlaps, and the chunks of each command. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from phoenix.contract import MediaInfo
from phoenix.media.commands.video import Picture, Segment
from phoenix.media.timeline import SourceStream, Timeline

# The memory of a crossfade graph grows with its inputs (280 MiB for 15 in 480p), so a long reel needs several commands.
MAX_INPUTS = 8


@dataclass(frozen=True)
class Chunk:
    """Segments that one command joins. Segments i and i + 1 share `overlaps[i]` frames."""

    segments: tuple[Segment, ...]
    overlaps: tuple[int, ...]

    @property
    def num_frames(self) -> int:
        return sum(segment.num_frames for segment in self.segments) - sum(self.overlaps)


def picture_of(info: MediaInfo, timeline: Timeline) -> Picture:
    """Returns size and frame rate of the reel, from its first clip. The size is even, as H.264 needs."""
    assert info.width is not None
    assert info.height is not None
    assert timeline.picture is not None
    return Picture(max(2, info.width & ~1), max(2, info.height & ~1), max(Fraction(1), timeline.picture.fps))


def chunks_of(
    sources: Sequence[SourceStream], counts: Sequence[int], overlaps: Sequence[int], max_inputs: int = MAX_INPUTS
) -> list[Chunk]:
    """Splits a reel into chunks, one per command. The results of the commands are concatenated.

    A full chunk ends inside a clip, between the two crossfades of the clip, so that each frame is encoded once.
    """
    chunks: list[Chunk] = []
    segments = [Segment(sources[0], 0, counts[0])]
    shared: list[int] = []
    for index, overlap in enumerate(overlaps):
        if overlap == 0:
            chunks.append(Chunk(tuple(segments), tuple(shared)))
            segments, shared = [], []
        elif len(segments) == max_inputs:
            whole = segments.pop()
            split = _middle(whole, before=shared[-1], after=overlap)
            chunks.append(Chunk((*segments, Segment(whole.source, whole.start, split)), tuple(shared)))
            segments, shared = [Segment(whole.source, split, whole.end)], [overlap]
        else:
            shared.append(overlap)
        segments.append(Segment(sources[index + 1], 0, counts[index + 1]))
    return [*chunks, Chunk(tuple(segments), tuple(shared))]


def _middle(segment: Segment, *, before: int, after: int) -> int:
    first, last = segment.start + before, segment.end - after
    return first + (last - first) // 2
