"""Finds out whether an Ogg file is one stream from its beginning to its end. RFC 3533 describes the pages.

Then the position that the last page states is the length. Files that were joined begin to count again.
"""

import os
import struct
from typing import IO

# Below this size, reading all pages takes about as long as looking at some of them.
_LARGE_BYTES = 20_000_000
_PLACES = 12
_MARK = b"OggS\0"
_STEP_BYTES, _HEADER_BYTES, _MAX_PAGE_BYTES = 4096, 27, 65_307


def is_one_stream(path: str) -> bool:
    """Returns whether the pages at places all over a large file belong to one stream, and are counted upwards."""
    size_bytes = os.stat(path).st_size  # noqa: PTH116
    if size_bytes < _LARGE_BYTES:
        return False
    with open(path, "rb") as file:  # noqa: PTH123
        offsets = [size_bytes * place // _PLACES for place in range(_PLACES)]
        pages = [_find_page(file, offset) for offset in (*offsets, size_bytes - _MAX_PAGE_BYTES)]
    found = [page for page in pages if page is not None]
    numbers = [number for _, number in found]
    return len(found) == len(pages) and len({serial for serial, _ in found}) == 1 and numbers == sorted(set(numbers))


def _find_page(file: IO[bytes], offset: int) -> tuple[int, int] | None:
    """Returns the serial number of the stream, and the number of the page, of the first page from `offset` on."""
    file.seek(offset)
    data = b""
    while _MARK not in data[:-_HEADER_BYTES] and len(data) < _MAX_PAGE_BYTES + _STEP_BYTES:
        step = file.read(_STEP_BYTES)
        if not step:
            break
        data += step
    at = data.find(_MARK)
    if at < 0 or len(data) < at + _HEADER_BYTES:
        return None
    serial, number = struct.unpack_from("<II", data, at + 14)
    return serial, number
