"""Finds out whether a file is truncated: compares the length that it states with what is there.

A length that the writer did not know proves nothing, and neither does a length that was estimated from a bit rate.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import IO, Any

from phoenix.media.probe_child.limits import UnreadableFile
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
_MAX_JUNK_BYTES = 64 * 1024
_ID3_HEADER_BYTES = 10
# From the four bytes that begin a frame of MPEG audio to the Xing header, by (is MPEG 1, is mono).
_XING_OFFSETS = {(True, False): 36, (True, True): 21, (False, False): 21, (False, True): 13}
_VBRI_OFFSET = 36


def check_whole(path: str, demuxer: str, container: Any, stats: Sequence[StreamStats]) -> None:
    """Raises `UnreadableFile` if the file states its length, and more than a little of it is missing."""
    with open(path, "rb") as file:  # noqa: PTH123
        if demuxer in ("wav", "avi", "caf"):
            check_bytes(file, find_stated_end(file))
        elif demuxer == "mp3":
            check_mpeg_frames(find_stated_frames(file), stats[0])
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


def check_mpeg_frames(stated: tuple[int, int] | None, stats: StreamStats) -> None:
    """`stated` is the number of frames, and the samples in a frame."""
    if stated is not None:
        frames, samples = stated
        frame_s = Fraction(samples, stats.stream.codec_context.sample_rate)
        check_length(stats.packets * frame_s, frames * frame_s)


def find_stated_frames(file: IO[bytes]) -> tuple[int, int] | None:
    """Returns the number of frames that an MP3 states, and the samples in a frame; None if it does not state it.

    The header is in the first frame, in place of sound: at https://www.codeproject.com/Articles/8295 as Xing and VBRI.
    """
    file.seek(_skip_id3(file))
    data = file.read(_MAX_JUNK_BYTES)
    for start in range(len(data) - 4):
        if data[start] == 0xFF and _is_layer_3(data[start : start + 4]):
            is_mpeg_1, is_mono = data[start + 1] & 0x08 != 0, data[start + 3] >> 6 == 3
            frames = _find_frames(data[start:], _XING_OFFSETS[is_mpeg_1, is_mono])
            return (frames, 1152 if is_mpeg_1 else 576) if frames and not is_placeholder(frames) else None
    return None


def _skip_id3(file: IO[bytes]) -> int:
    """Returns the offset after the tags at the beginning. The text in them may look like a header."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(_ID3_HEADER_BYTES)
        if len(head) < _ID3_HEADER_BYTES or head[:3] != b"ID3":
            return offset
        footer_bytes = _ID3_HEADER_BYTES if head[5] & 0x10 else 0
        body_bytes = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        offset += _ID3_HEADER_BYTES + body_bytes + footer_bytes


def _is_layer_3(header: bytes) -> bool:
    """Returns whether the four bytes begin a frame: with eleven set bits, and with no reserved value."""
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, sample_rate = header[2] >> 4, header[2] >> 2 & 3
    return header[1] >> 5 == 7 and version != 1 and layer == 1 and bitrate not in (0, 15) and sample_rate != 3


def _find_frames(frame: bytes, xing_offset: int) -> int | None:
    if frame[xing_offset : xing_offset + 4] in (b"Xing", b"Info"):
        flags, frames = struct.unpack(">II", frame[xing_offset + 4 : xing_offset + 12].ljust(8, b"\0"))
        return frames if flags & 1 else None
    if frame[_VBRI_OFFSET : _VBRI_OFFSET + 4] == b"VBRI":
        return int.from_bytes(frame[_VBRI_OFFSET + 14 : _VBRI_OFFSET + 18])
    return None
