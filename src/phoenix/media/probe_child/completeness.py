"""Finds out whether a file is truncated: compares what it states with what is there."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from phoenix.media.probe_child.limits import UnreadableFile
from phoenix.media.probe_child.streams import StreamStats

# The stated length of a file may be wrong by a few frames. If more than this is missing, the file is truncated.
_MISSING_FRACTION, _MISSING_S = 0.03, 0.25


def states_length(path: str, demuxer: str) -> bool:
    """Returns whether the file states its length, so that truncation can be detected."""
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(64 * 1024)
    if demuxer == "mp3":
        # Without this header, the length is estimated from the bit rate of the first frame.
        return b"Xing" in head or b"Info" in head
    if demuxer == "wav":
        # A writer to a pipe does not know the size, and states zero or all ones.
        return head[4:8] not in (b"\xff\xff\xff\xff", b"\0\0\0\0")
    return demuxer in ("mov", "matroska", "flac")


def check_whole(container: Any, stats: Sequence[StreamStats]) -> None:
    for stream_stats in stats:
        if stream_stats.is_cut:
            raise UnreadableFile("it ends in the middle: the file is incomplete")
        if stream_stats.stream.duration is not None:
            check_length(stream_stats.span_s, stream_stats.stream.duration * stream_stats.stream.time_base)
    if container.duration is not None:
        check_length(max(stream_stats.end_s for stream_stats in stats), Fraction(container.duration, 1_000_000))


def check_length(found_s: Fraction, stated_s: Fraction) -> None:
    if float(stated_s - found_s) > _MISSING_S + _MISSING_FRACTION * float(stated_s):
        raise UnreadableFile(f"it ends after {float(found_s):.1f} of {float(stated_s):.1f} s: the file is incomplete")
