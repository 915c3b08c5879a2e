"""Plans in frames how clips become one reel: how many each gives, what they share, what one command joins. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from phoenix.contract.artifacts import MediaInfo
from phoenix.media.commands.video import Picture, Piece

# Memory of a crossfade graph grows with its inputs (280 MiB for 15 of 480p), so a long reel takes several.
MAX_INPUTS = 8


@dataclass(frozen=True)
class Chunk:
    """Pieces that one command joins; `overlaps[i]` frames are shared by pieces i and i + 1."""

    pieces: tuple[Piece, ...]
    overlaps: tuple[int, ...]

    @property
    def num_frames(self) -> int:
        return sum(piece.num_frames for piece in self.pieces) - sum(self.overlaps)


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
    pieces = [Piece(paths[0], 0, counts[0])]
    shared: list[int] = []
    for index, overlap in enumerate(overlaps):
        if overlap == 0:
            chunks.append(Chunk(tuple(pieces), tuple(shared)))
            pieces, shared = [], []
        elif len(pieces) == max_inputs:
            whole = pieces.pop()
            split = _middle(whole, before=shared[-1], after=overlap)
            chunks.append(Chunk((*pieces, Piece(whole.path, whole.start, split)), tuple(shared)))
            pieces, shared = [Piece(whole.path, split, whole.end)], [overlap]
        else:
            shared.append(overlap)
        pieces.append(Piece(paths[index + 1], 0, counts[index + 1]))
    return [*chunks, Chunk(tuple(pieces), tuple(shared))]


def _middle(piece: Piece, *, before: int, after: int) -> int:
    first, last = piece.start + before, piece.end - after
    return first + (last - first) // 2
