"""How much space a disk has left, and which errors mean that it has none. Decides nothing about the limits."""

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

ReadFreeBytes = Callable[[Path], int]

FULL_DISK_SIGNS = ("No space left on device", "Disk quota exceeded")
"""What programs and libraries write about a full disk if they pass no error number on."""

_FULL_DISK_NUMBERS = (errno.ENOSPC, errno.EDQUOT)


def read_free_bytes(folder: Path) -> int:
    """Bytes that this account may still write on the disk of `folder`, or of its nearest ancestor that exists."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    return shutil.disk_usage(nearest).free


def is_full_disk(error: BaseException) -> bool:
    """Whether the error, or an error that caused it, says that a disk is full or that a disk quota is used up."""
    return any(isinstance(each, OSError) and each.errno in _FULL_DISK_NUMBERS for each in causes_of(error))


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error, then the error that caused it, and so on. The last one is the original error."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def in_megabytes(size_bytes: int) -> str:
    """A size for people, such as `512 MB`; a megabyte has 1,000,000 bytes."""
    return f"{size_bytes // 1_000_000} MB"
