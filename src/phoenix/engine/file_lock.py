"""File locks between processes. The kernel releases the lock of a process that dies."""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Locks the file, and creates it if it is missing. Returns its descriptor, or None if another process has the lock.

    To unlock the file, close the descriptor.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
