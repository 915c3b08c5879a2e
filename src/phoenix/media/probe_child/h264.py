"""Finds out whether an H.264 stream may hold interlaced frames, from its parameters and not from its frames.

ITU-T H.264 describes the syntax, in 7.3.2.1.1; ISO/IEC 14496-15 describes how an MP4 stores it.
"""

from collections.abc import Iterator

# These profiles state the sampling of the colours and the scaling lists.
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_PARAMETER_SETS_OFFSET = 5
_NO_COLOUR_SUBSAMPLING = 3


def may_be_interlaced(extradata: bytes) -> bool:
    """Returns whether a sequence parameter set admits fields. True also if none is found in `extradata`."""
    try:
        flags = [_read_frame_mbs_only(unit) for unit in _find_parameter_sets(extradata)]
    except IndexError:
        return True
    return not flags or not all(flags)


def _find_parameter_sets(extradata: bytes) -> Iterator[bytes]:
    """Yields the sequence parameter sets of an `avcC` box, without their first byte."""
    if extradata[:1] != b"\1":
        return
    offset = _PARAMETER_SETS_OFFSET + 1
    for _ in range(extradata[_PARAMETER_SETS_OFFSET] & 0x1F):
        size_bytes = int.from_bytes(extradata[offset : offset + 2])
        # An encoder puts a 3 between two zeros and a small byte.
        yield extradata[offset + 3 : offset + 2 + size_bytes].replace(b"\0\0\3", b"\0\0")
        offset += 2 + size_bytes


class _Bits:
    """Reads bits from the first one on. Raises `IndexError` at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._offset >> 3] >> (7 - self._offset % 8) & 1
            self._offset += 1
        return value

    def read_golomb(self) -> int:
        """Returns an unsigned number in Exp-Golomb coding."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def read_signed_golomb(self) -> int:
        value = self.read_golomb()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def _read_frame_mbs_only(parameter_set: bytes) -> bool:
    """Returns whether each frame is coded as a whole. Fields are impossible then."""
    bits = _Bits(parameter_set)
    profile, _, _ = bits.read(8), bits.read(16), bits.read_golomb()
    if profile in _HIGH_PROFILES:
        _skip_sampling(bits)
    bits.read_golomb()
    order = bits.read_golomb()
    if order == 0:
        bits.read_golomb()
    elif order == 1:
        bits.read(1)
        _ = bits.read_golomb(), bits.read_golomb()
        for _ in range(bits.read_golomb()):
            bits.read_golomb()
    # The reference frames, a flag, the width and the height.
    _ = bits.read_golomb(), bits.read(1), bits.read_golomb(), bits.read_golomb()
    return bool(bits.read(1))


def _skip_sampling(bits: _Bits) -> None:
    subsampling = bits.read_golomb()
    if subsampling == _NO_COLOUR_SUBSAMPLING:
        bits.read(1)
    _ = bits.read_golomb(), bits.read_golomb(), bits.read(1)
    if bits.read(1):
        for index in range(12 if subsampling == _NO_COLOUR_SUBSAMPLING else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.read_signed_golomb()) % 256
        last = following or last
