"""A lock between processes, as a file: the kernel frees that of a process that dies."""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Descriptor of the file, made if missing and now locked; closing it unlocks. None if somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
