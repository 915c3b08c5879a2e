"""Finds out whether a file is truncated: compares the length that it states with what is there.

A length that the writer did not know proves nothing, and neither does a length that was estimated from a bit rate.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import IO, Any

from phoenix.media.probe_child.limits import UnreadableFile
from phoenix.media.probe_child.mpeg_audio import StatedLength, find_stated_length
from phoenix.media.probe_child.streams import StreamStats

# The stated length of a file may be wrong by a few frames. If more than this is missing, the file is truncated.
_MISSING_FRACTION, _MISSING_S = 0.03, 0.25
# Some writers count the header of a WAV as sound.
_MISSING_BYTES = 4096
# A writer to a pipe states zero, or the most that fits into 31 or 32 bits. Many subtract the header from it, or round
# it: sox states 0x7FFFF000, arecord 0x80000000.
_PLACEHOLDERS = (2**31, 2**32, 2**63, 2**64)
_PLACEHOLDER_MARGIN = 2**20
_MAX_CHUNKS = 1000


def check_whole(path: str, demuxer: str, container: Any, stats: Sequence[StreamStats]) -> None:
    """Raises `UnreadableFile` if the file states its length, and more than a little of it is missing."""
    with open(path, "rb") as file:  # noqa: PTH123
        if demuxer in ("wav", "avi", "caf"):
            check_bytes(file, find_stated_end(file))
        elif demuxer == "mp3":
            check_mpeg_frames(find_stated_length(file), stats[0])
        elif demuxer in ("mov", "matroska", "flac", "aiff"):
            check_streams(container, stats)


def check_streams(container: Any, stats: Sequence[StreamStats]) -> None:
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


def check_bytes(file: IO[bytes], stated_end: int | None) -> None:
    size_bytes = file.seek(0, 2)
    if stated_end is not None and stated_end - size_bytes > _MISSING_BYTES:
        raise UnreadableFile(f"it ends after {size_bytes} of {stated_end} bytes: the file is incomplete")


def is_placeholder(size_bytes: int) -> bool:
    """Returns whether a stated size says only that the writer did not know the size."""
    return size_bytes == 0 or any(abs(size_bytes - most) <= _PLACEHOLDER_MARGIN for most in _PLACEHOLDERS)


def find_stated_end(file: IO[bytes]) -> int | None:
    """Returns the stated offset, in bytes, of the end of a WAV, AVI or CAF; None if the file does not state it.

    The size of a WAV is stated twice, for the sound and for all of the file. One of them may be a placeholder.
    """
    magic, total_bytes, kind = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
    if magic == b"caff":
        file.seek(8)
        return _find_data_end(file, ">4sQ")
    ends = [None if is_placeholder(total_bytes) or magic != b"RIFF" else total_bytes + 8]
    if kind == b"WAVE":
        start = file.tell()
        ends.insert(0, _find_data_end(file, "<4sI", _find_large_size(file)))
        file.seek(start)
    return next((end for end in ends if end is not None), None)


def _find_large_size(file: IO[bytes]) -> int:
    """Returns the size of the sound in the first chunk of a WAV of more than 4 GiB; 0 in any other WAV."""
    head = file.read(24)
    file.seek(-len(head), 1)
    return struct.unpack("<Q", head[16:])[0] if len(head) == 24 and head[:4] == b"ds64" else 0


def _find_data_end(file: IO[bytes], header: str, large_bytes: int = 0) -> int | None:
    """Returns the stated end of the chunk `data`, from the chunk at the position of `file` on. None if it is unknown.

    `large_bytes` is the size for a chunk whose own size is all ones.
    """
    for _ in range(_MAX_CHUNKS):
        data = file.read(struct.calcsize(header))
        if len(data) < struct.calcsize(header):
            return None
        name, size_bytes = struct.unpack(header, data)
        if name == b"data":
            stated_bytes = large_bytes if size_bytes == 2**32 - 1 else size_bytes
            return None if is_placeholder(stated_bytes) else file.tell() + stated_bytes
        # In a WAV, chunks begin at even offsets.
        file.seek(size_bytes + (size_bytes & 1 if header[0] == "<" else 0), 1)
    return None


def check_mpeg_frames(stated: StatedLength | None, stats: StreamStats) -> None:
    if stated is not None and not is_placeholder(stated.frames):
        frame_s = Fraction(stated.samples, stats.stream.codec_context.sample_rate)
        check_length(stats.packets * frame_s, stated.frames * frame_s)
