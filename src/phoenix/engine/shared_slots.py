"""Device slots shared by several processes, as file locks: the kernel frees those of a process that dies."""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from phoenix.engine.file_lock import try_lock
from phoenix.engine.stopping import StopToken

POLL_S = 0.01
"""Polling interval: a thread that blocks in `flock` could not be stopped."""


class SharedSlots:
    """`count` slots of one device, shared by all processes that use the same folder and device."""

    def __init__(self, folder: Path, device: str, *, count: int) -> None:
        self._door = folder / f"{device}.door"
        self._slots = [folder / f"{device}.{number}" for number in range(count)]

    @contextmanager
    def hold(self, stop: StopToken, *, until_s: float) -> Generator[bool]:
        """Holds a slot during the block; yields whether one came free before `until_s` (monotonic clock).

        Raises `RenderStopped` when asked to stop first.
        """
        slot = self._take(stop, until_s)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                os.close(slot)

    def _take(self, stop: StopToken, until_s: float) -> int | None:
        # Whoever is next holds the door, so that a process that frees its slot does not take it again at once.
        door = _lock_one([self._door], stop, until_s)
        if door is None:
            return None
        try:
            return _lock_one(self._slots, stop, until_s)
        finally:
            os.close(door)


def _lock_one(paths: Sequence[Path], stop: StopToken, until_s: float) -> int | None:
    """Descriptor of the first file that could be locked; closing it unlocks. None if none could in time."""
    while True:
        for path in paths:
            if (descriptor := try_lock(path)) is not None:
                return descriptor
        if time.monotonic() >= until_s:
            return None
        stop.wait(POLL_S)
