"""Byte ranges of a request (RFC 9110, section 14). Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_RANGES = 16
"""A header with more ranges is ignored, as the RFC allows: each part costs more than its bytes."""

_RANGE = re.compile(r"(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    """Bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start

    def content_range(self, total_bytes: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{total_bytes}"


class UnsatisfiableRange(Exception):
    """No requested range lies within the file."""


def parse_ranges(header: str | None, total_bytes: int) -> Sequence[ByteRange]:
    """The ranges for a 206 response, in the order of the header; empty for the whole file.

    A header that is malformed or has an unknown unit counts as absent. Raises `UnsatisfiableRange`.
    """
    if header is None:
        return ()
    unit, _, listed = header.partition("=")
    if unit.strip().lower() != "bytes":
        return ()
    specs = [_parse_spec(part) for part in listed.split(",")]
    if len(specs) > MAX_RANGES or None in specs:
        return ()
    ranges = [found for spec in specs if spec and (found := _resolve(spec, total_bytes))]
    if not ranges:
        raise UnsatisfiableRange
    # Overlapping ranges can add up to many times the file, so the file is sent once.
    return ranges if sum(one.size_bytes for one in ranges) <= total_bytes else ()


def _parse_spec(text: str) -> tuple[str, str] | None:
    """First and last position, of which one may be missing; None if the text is malformed."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    first, last = match["first"], match["last"]
    is_backwards = bool(first and last) and int(first) > int(last)
    return None if is_backwards or not (first or last) else (first, last)


def _resolve(spec: tuple[str, str], total_bytes: int) -> ByteRange | None:
    first, last = spec
    if not first:
        start, stop = max(total_bytes - int(last), 0), total_bytes
    else:
        start, stop = int(first), min(int(last) + 1, total_bytes) if last else total_bytes
    return ByteRange(start, stop) if start < stop else None
