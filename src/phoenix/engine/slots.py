"""Bounds how many clips are on one device at a time. First come, first served; waits are bounded and can be stopped."""

import os
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from phoenix.engine.file_lock import try_lock
from phoenix.engine.stop_token import StopToken, lock_and_wake_on_stop, wait_until
from phoenix.errors import FailureCode, Stage, TaskFailed

POLL_S = 0.01
"""Polling interval: a thread that blocks in `flock` could not be stopped."""


class SharedSlots:
    """`count` slots of one device, shared by all processes that use the same folder and device."""

    def __init__(self, folder: Path, device: str, *, count: int) -> None:
        self._next_lock = folder / f"{device}.next"
        self._slots = [folder / f"{device}.{number}" for number in range(count)]

    @contextmanager
    def acquire(self, stop: StopToken, *, until_s: float) -> Generator[bool]:
        """Holds a slot during the block; yields whether one came free before `until_s` (monotonic clock).

        Raises `RenderStopped` when asked to stop first.
        """
        slot = self._lock_slot(stop, until_s)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                os.close(slot)

    def _lock_slot(self, stop: StopToken, until_s: float) -> int | None:
        # Whoever is next holds this lock, so that a process that frees its slot does not take it again at once.
        next_lock = _lock_one([self._next_lock], stop, until_s)
        if next_lock is None:
            return None
        try:
            return _lock_one(self._slots, stop, until_s)
        finally:
            os.close(next_lock)


def _lock_one(paths: Sequence[Path], stop: StopToken, until_s: float) -> int | None:
    """Descriptor of the first file that could be locked; closing it unlocks. None if none could in time."""
    while True:
        for path in paths:
            if (descriptor := try_lock(path)) is not None:
                return descriptor
        if time.monotonic() >= until_s:
            return None
        stop.wait(POLL_S)


class DeviceSlots:
    """A fair semaphore for the device's part of a render; encoding and upload happen outside it.

    With `shared`, `count` is for all processes on the device together.
    """

    def __init__(self, count: int, *, wait_limit_s: float, shared: SharedSlots | None = None) -> None:
        self.count = count
        self.wait_limit_s = wait_limit_s
        self._shared = shared
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._in_use = 0

    @property
    def is_shared(self) -> bool:
        return self._shared is not None

    @property
    def in_use(self) -> int:
        return self._in_use

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def acquire(self, stop: StopToken) -> Generator[float]:
        """Holds one slot during the block; yields the seconds that the caller waited for it.

        Raises `TaskFailed` (TIMEOUT) past the wait limit, `RenderStopped` when asked to stop first.
        """
        started_s = time.monotonic()
        self._acquire_local(stop)
        try:
            with ExitStack() as device:
                if self._shared is not None:
                    until_s = started_s + self.wait_limit_s
                    if not device.enter_context(self._shared.acquire(stop, until_s=until_s)):
                        raise self._timeout("all are in use by other processes")
                yield time.monotonic() - started_s
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify_all()

    def _acquire_local(self, stop: StopToken) -> None:
        ticket = object()
        with lock_and_wake_on_stop(stop, self._changed):
            self._waiting.append(ticket)
            try:
                self._wait_for_turn(ticket, stop)
                self._in_use += 1
            finally:
                # A ticket that gives up may have been the first: those behind it must check again.
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _wait_for_turn(self, ticket: object, stop: StopToken) -> None:
        def is_my_turn() -> bool:
            return self._in_use < self.count and self._waiting[0] is ticket

        stop.check()
        if not wait_until(self._changed, is_my_turn, stop, timeout_s=self.wait_limit_s):
            raise self._timeout(f"{self._in_use} of {self.count} in use")

    def _timeout(self, why: str) -> TaskFailed:
        detail = f"no slot on the device came free within {self.wait_limit_s:g} s ({why})"
        return TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.QUEUE, retriable=True)
