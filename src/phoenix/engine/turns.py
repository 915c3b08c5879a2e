"""The slots of a device that several processes share, as locks on files: a process that dies lets go of its own."""

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from phoenix.engine.stopping import StopToken

POLL_S = 0.01
"""Between two looks. A thread that sleeps in `flock` itself could not be stopped."""


class SharedSlots:
    """`count` slots of one device, for every process that names the same folder and device."""

    def __init__(self, folder: Path, device: str, *, count: int) -> None:
        self._door = folder / f"{device}.door"
        self._slots = [folder / f"{device}.{number}" for number in range(count)]

    @contextmanager
    def hold(self, stop: StopToken, *, until_s: float) -> Generator[bool]:
        """Holds one of them for the block; yields whether there was one before the monotonic instant `until_s`.

        Raises `RenderStopped` when asked to stop first.
        """
        slot = self._take(stop, until_s)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                os.close(slot)

    def _take(self, stop: StopToken, until_s: float) -> int | None:
        # Whoever is next stands in the door, so that a process which leaves its slot does not take it again at once.
        door = _lock_one([self._door], stop, until_s)
        if door is None:
            return None
        try:
            return _lock_one(self._slots, stop, until_s)
        finally:
            os.close(door)


def _lock_one(paths: Sequence[Path], stop: StopToken, until_s: float) -> int | None:
    """The descriptor of the first file that could be locked; to close it is to let go. None: not in time."""
    while True:
        for path in paths:
            if (descriptor := _try_lock(path)) is not None:
                return descriptor
        if time.monotonic() >= until_s:
            return None
        stop.wait(POLL_S)


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
