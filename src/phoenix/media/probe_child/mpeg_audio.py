"""Reads the frames of MPEG audio layer 3: what an MP3 states of its length, and whether the file agrees.

The headers that state a length are described at https://www.codeproject.com/Articles/8295 as Xing and VBRI.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

# Below this size, reading all frames takes about as long as looking at some of them.
_LARGE_BYTES = 20_000_000
_PLACES = 32
# Of the longest frames, this holds the end of one and two whole ones.
_PLACE_BYTES = 6144
_CHAINED_FRAMES = 3
# The average size of the frames at the places differs from the average of all frames, if their bit rate varies.
_SIZE_TOLERANCE = 0.25
_MAX_JUNK_BYTES = 64 * 1024
_ID3_HEADER_BYTES, _ID3_V1_BYTES, _APE_FOOTER_BYTES = 10, 128, 32
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44_100, 48_000, 32_000)
# From the four bytes that begin a frame to the Xing header, by (is MPEG 1, is mono).
_XING_OFFSETS = {(True, False): 36, (True, True): 21, (False, False): 21, (False, True): 13}
_VBRI_OFFSET = 36


@dataclass(frozen=True)
class Frame:
    """What the header of a frame says. `mean_bytes` is the size of a frame if padding evens out the sizes."""

    is_mpeg_1: bool
    is_mono: bool
    rate_hz: int
    kbits: int
    is_padded: bool

    @property
    def samples(self) -> int:
        return 1152 if self.is_mpeg_1 else 576

    @property
    def mean_bytes(self) -> Fraction:
        return Fraction(self.samples // 8 * self.kbits * 1000, self.rate_hz)

    @property
    def size_bytes(self) -> int:
        return int(self.mean_bytes) + self.is_padded


@dataclass(frozen=True)
class StatedLength:
    """What the header in the first frame says: the frames without this one, and the bytes (0 if not stated)."""

    frames: int
    samples: int
    size_bytes: int = 0


def parse_frame(header: bytes) -> Frame | None:
    """Parses four bytes. A frame begins with eleven set bits, and has no reserved value."""
    if len(header) < 4 or header[0] != 0xFF or header[1] >> 5 != 7:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    is_mpeg_1 = version == 3
    rate_hz = _RATES_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    kbits = (_KBITS_1 if is_mpeg_1 else _KBITS_2)[bitrate]
    return Frame(is_mpeg_1, header[3] >> 6 == 3, rate_hz, kbits, bool(header[2] & 2))


def find_stated_length(file: IO[bytes]) -> StatedLength | None:
    """Returns the length that an MP3 states, in its first frame and in place of sound. None if it states none."""
    return _find_first(file)[2]


def count_frames(path: str) -> int | None:
    """Returns the number of frames of a large MP3, from a few of them. None if only all of them prove it.

    It is proved if the stated number of bytes is there, or if the frames are at the places where a constant bit rate
    puts them: an insertion or a missing part would move all later ones.
    """
    if os.stat(path).st_size < _LARGE_BYTES:  # noqa: PTH116
        return None
    with open(path, "rb") as file:  # noqa: PTH123
        start, first, stated = _find_first(file)
        if first is None:
            return None
        end = _find_sound_end(file)
        places = list(_read_places(file, first, start, end))
        if len(places) < _PLACES:
            return None
        if stated is None:
            return _count_by_grid(places, first, start, end)
        is_whole = stated.size_bytes in (end - start, end - start - first.size_bytes)
        mean_bytes = len(places) / sum(1 / frame.size_bytes for _, frame in places)
        is_likely = abs(mean_bytes * stated.frames / (end - start) - 1) < _SIZE_TOLERANCE
        return stated.frames if is_whole and is_likely else None


def _find_first(file: IO[bytes]) -> tuple[int, Frame | None, StatedLength | None]:
    """Returns the offset of the first frame, what it is, and the length that it states."""
    offset = _skip_id3(file)
    file.seek(offset)
    data = file.read(_MAX_JUNK_BYTES)
    for start in range(len(data) - 4):
        frame = parse_frame(data[start : start + 4])
        if frame is not None:
            return offset + start, frame, _find_length(data[start:], frame)
    return offset, None, None


def _find_length(data: bytes, frame: Frame) -> StatedLength | None:
    xing = _XING_OFFSETS[frame.is_mpeg_1, frame.is_mono]
    if data[xing : xing + 4] in (b"Xing", b"Info"):
        flags, frames, size_bytes = struct.unpack(">III", data[xing + 4 : xing + 16].ljust(12, b"\0"))
        frames, size_bytes = frames if flags & 1 else 0, size_bytes if flags & 3 == 3 else 0
    elif data[_VBRI_OFFSET : _VBRI_OFFSET + 4] == b"VBRI":
        size_bytes, frames = struct.unpack(">II", data[_VBRI_OFFSET + 10 : _VBRI_OFFSET + 18].ljust(8, b"\0"))
    else:
        return None
    return StatedLength(frames, frame.samples, size_bytes) if frames else None


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


def _find_sound_end(file: IO[bytes]) -> int:
    """Returns the offset after the last frame, where the tags at the end of the file begin."""
    end = file.seek(0, os.SEEK_END)
    if _read_at(file, end - _ID3_V1_BYTES, 3) == b"TAG":
        end -= _ID3_V1_BYTES
    footer = _read_at(file, end - _APE_FOOTER_BYTES, _APE_FOOTER_BYTES)
    if footer[:8] == b"APETAGEX":
        size_bytes, _, flags = struct.unpack("<III", footer[12:24])
        end -= size_bytes + (_APE_FOOTER_BYTES if flags >> 31 else 0)
    return end


def _read_at(file: IO[bytes], offset: int, size_bytes: int) -> bytes:
    file.seek(max(0, offset))
    return file.read(size_bytes)


def _read_places(file: IO[bytes], first: Frame, start: int, end: int) -> Iterator[tuple[int, Frame]]:
    """Yields the offset of a frame, and the frame, at places all over the file. Yields nothing for a place without."""
    for place in range(_PLACES):
        offset = start + (end - start) * place // _PLACES
        data = _read_at(file, offset, _PLACE_BYTES)
        for at in range(len(data)):
            frame = _find_chain(data, at, first)
            if frame is not None:
                yield offset + at, frame
                break


def _find_chain(data: bytes, at: int, first: Frame) -> Frame | None:
    """Returns the frame at `at`, if two more frames of the same kind follow it. Sound may look like one."""
    found: Frame | None = None
    for _ in range(_CHAINED_FRAMES):
        frame = parse_frame(data[at : at + 4])
        if frame is None or (frame.is_mpeg_1, frame.rate_hz) != (first.is_mpeg_1, first.rate_hz):
            return None
        found = found or frame
        at += frame.size_bytes
    return found


def _count_by_grid(places: list[tuple[int, Frame]], first: Frame, start: int, end: int) -> int | None:
    for offset, frame in places:
        frames = (offset - start) / first.mean_bytes
        if frame.kbits != first.kbits or abs(frames - round(frames)) * first.mean_bytes > 1:
            return None
    # A last frame that is cut is not played.
    return int((end - start + 1) / first.mean_bytes)
