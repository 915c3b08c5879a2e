"""Reads the times of the blocks of a Matroska file from their headers, without the pictures and sounds in them.

RFC 9559 names the elements.
"""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_SEGMENT, _TRACKS, _TRACK_ENTRY, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0xA0
_TRACK_NUMBER, _TRACK_TYPE, _CLUSTER_TIME, _SIMPLE_BLOCK, _BLOCK = 0xD7, 0x83, 0xE7, 0xA3, 0xA1
_BLOCK_DURATION, _DISCARD_PADDING, _CONTENT_ENCODINGS = 0x9B, 0x75A2, 0x6D80
_LACING = 0x06
_ENTERED = frozenset((_SEGMENT, _TRACKS, _TRACK_ENTRY, _CLUSTER, _BLOCK_GROUP))
# Pictures, sound, both, and subtitles. Other tracks (of buttons, for example) are no streams of libavformat.
_STREAM_TYPES = (0x01, 0x02, 0x03, 0x11)
_MAX_ID_BYTES, _MAX_SIZE_BYTES = 4, 8
# The identifier and the size of an element, and the track, the time and the flags of a block.
_HEADER_BYTES = _MAX_ID_BYTES + _MAX_SIZE_BYTES + 5
_LAST_BLOCKS = 16


class BrokenMatroska(Exception):
    """The elements of the file are damaged."""


@dataclass
class Blocks:
    """The times of the blocks of each stream, in ticks of the file, and whether the file is truncated.

    `ends` are the latest ends that blocks of a stream state. Most blocks state no end. `last` are the offset and the
    size, in bytes, of the contents of the last blocks; empty if a block has several packets, or changed ones.
    `padding_ns` is how much of the last block is not shown.
    """

    times: list[list[int]] = field(default_factory=list[list[int]])
    ends: list[int] = field(default_factory=list[int])
    last: list[list[tuple[int, int]]] = field(default_factory=list[list[tuple[int, int]]])
    padding_ns: list[int] = field(default_factory=list[int])
    is_cut: bool = False


@dataclass
class _Track:
    times: list[int] = field(default_factory=list[int])
    end: int = 0
    last: deque[tuple[int, int]] = field(default_factory=lambda: deque[tuple[int, int]](maxlen=_LAST_BLOCKS))
    has_whole_packets: bool = True
    padding_ns: int = 0

    def add(self, time: int, block: "_Element", head_bytes: int) -> None:
        self.times.append(time)
        self.padding_ns = 0
        self.has_whole_packets &= not int.from_bytes(block.head[head_bytes - 1 : head_bytes]) & _LACING
        start = block.start + head_bytes
        self.last.append((start, max(0, (block.end or start) - start)))

    def describe(self, element: "_Element", block_time: int) -> None:
        """Takes what an element says of the track, or of its newest block."""
        if element.identifier == _BLOCK_DURATION:
            self.end = max(self.end, block_time + element.number)
        elif element.identifier == _DISCARD_PADDING:
            self.padding_ns = element.number
        else:
            self.has_whole_packets = False


@dataclass(frozen=True)
class _Element:
    """An element, and the first bytes of its body. The end is None if the writer did not know it."""

    identifier: int
    start: int
    end: int | None
    head: bytes

    @property
    def number(self) -> int:
        return int.from_bytes(self.head[: (self.end or self.start) - self.start])


def read_blocks(path: str) -> Blocks:
    """Returns the times of all blocks, by stream. Raises `BrokenMatroska`."""
    file = os.open(path, os.O_RDONLY)
    try:
        return _sort_blocks(_read_elements(file, os.fstat(file).st_size), os.fstat(file).st_size)
    finally:
        os.close(file)


def _sort_blocks(elements: Iterator[_Element], size_bytes: int) -> Blocks:
    blocks = Blocks()
    tracks: dict[int, _Track] = {}
    streams: list[int] = []
    track = cluster_time = block_time = 0
    for element in elements:
        is_cut = element.end is not None and element.end > size_bytes
        if element.identifier == _SEGMENT:
            # A recorder that is stopped by force has not written the size of the segment. Its file is used as it is.
            blocks.is_cut = is_cut
        elif element.identifier in (_SIMPLE_BLOCK, _BLOCK) and not is_cut:
            track, track_bytes = _read_size(element.head)
            offset = int.from_bytes(element.head[track_bytes : track_bytes + 2], signed=True)
            block_time = cluster_time + offset
            tracks.setdefault(track, _Track()).add(block_time, element, track_bytes + 3)
        elif element.identifier in (_BLOCK_DURATION, _DISCARD_PADDING, _CONTENT_ENCODINGS):
            tracks.setdefault(track, _Track()).describe(element, block_time)
        elif element.identifier == _CLUSTER_TIME:
            cluster_time = element.number
        elif element.identifier == _TRACK_NUMBER:
            track = element.number
        elif element.identifier == _TRACK_TYPE and element.number in _STREAM_TYPES:
            streams.append(track)
    for found in (tracks.get(number, _Track()) for number in streams):
        blocks.times.append(found.times)
        blocks.ends.append(found.end)
        blocks.last.append(list(found.last) if found.has_whole_packets else [])
        blocks.padding_ns.append(found.padding_ns)
    return blocks


def _read_elements(file: int, size_bytes: int) -> Iterator[_Element]:
    """Yields the elements in their order. The contents of an element follow it as if they were siblings."""
    offset = 0
    while offset < size_bytes:
        data = os.pread(file, _HEADER_BYTES, offset)
        id_bytes = _length_of(data[0])
        if id_bytes > _MAX_ID_BYTES:
            raise BrokenMatroska
        length, length_bytes = _read_size(data[id_bytes:])
        head_bytes = id_bytes + length_bytes
        identifier = int.from_bytes(data[:id_bytes])
        is_entered = identifier in _ENTERED
        start = offset + head_bytes
        # A live recording does not know the size of a segment or a cluster, and states all ones.
        end = None if length == (1 << 7 * length_bytes) - 1 else start + length
        if end is None and not is_entered:
            raise BrokenMatroska
        yield _Element(identifier, start, end, data[head_bytes:])
        offset = start if end is None or is_entered else end


def _length_of(first_byte: int) -> int:
    """Returns the number of bytes of a variable-size integer: one more than the zero bits at its beginning."""
    return 9 - first_byte.bit_length()


def _read_size(data: bytes) -> tuple[int, int]:
    """Returns a variable-size integer, and the number of its bytes."""
    length_bytes = _length_of(data[0]) if data else _MAX_SIZE_BYTES + 1
    if length_bytes > min(len(data), _MAX_SIZE_BYTES):
        raise BrokenMatroska
    return int.from_bytes(data[:length_bytes]) & ((1 << 7 * length_bytes) - 1), length_bytes
