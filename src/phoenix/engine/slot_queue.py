"""Limits the clips on one device at a time. First come, first served; a wait has a time limit, and can be stopped."""

import os
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from phoenix.clock import in_seconds
from phoenix.engine.file_lock import try_lock
from phoenix.engine.stop_token import StopToken, lock_and_wake_on_stop, wait_until
from phoenix.errors import FailureCode, Stage, TaskFailed

POLL_S = 0.01
"""Polling interval. A thread that blocks in `flock` could not be stopped."""


class SharedSlots:
    """`count` slots of one device, shared by all processes that use the same folder."""

    def __init__(self, folder: Path, device: str, *, count: int) -> None:
        self._next_lock = folder / f"{device}.next"
        self._slots = [folder / f"{device}.{number}" for number in range(count)]

    @contextmanager
    def acquire(self, stop: StopToken, *, until_s: float) -> Generator[bool]:
        """Takes a slot for the block. Yields whether a slot was free before `until_s` (monotonic clock).

        Raises `RenderStopped` when asked to stop first.
        """
        slot = self._lock_slot(stop, until_s)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                os.close(slot)

    def _lock_slot(self, stop: StopToken, until_s: float) -> int | None:
        # The process that is next in line has this lock: a process that frees its slot cannot take it back before.
        next_lock = _lock_one([self._next_lock], stop, until_s)
        if next_lock is None:
            return None
        try:
            return _lock_one(self._slots, stop, until_s)
        finally:
            os.close(next_lock)


def _lock_one(paths: Sequence[Path], stop: StopToken, until_s: float) -> int | None:
    """Returns the descriptor of the first file that could be locked (close it to unlock); None after `until_s`."""
    while True:
        for path in paths:
            if (descriptor := try_lock(path)) is not None:
                return descriptor
        if time.monotonic() >= until_s:
            return None
        stop.wait(POLL_S)


class DeviceSlots:
    """A fair semaphore for the part of a render that uses the device. Encoding and upload need no slot.

    With `shared`, all processes on the device together have `count` slots.
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
        """Takes one slot for the block. Yields the seconds that the caller waited for it.

        Raises `TaskFailed` (TIMEOUT) after the wait limit, or `RenderStopped` when asked to stop first.
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
                # This ticket may have been the first in line: the tickets behind it must check again.
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _wait_for_turn(self, ticket: object, stop: StopToken) -> None:
        def is_my_turn() -> bool:
            return self._in_use < self.count and self._waiting[0] is ticket

        stop.check()
        if not wait_until(self._changed, is_my_turn, stop, timeout_s=self.wait_limit_s):
            raise self._timeout(f"{self._in_use} of {self.count} in use")

    def _timeout(self, why: str) -> TaskFailed:
        detail = f"no slot on the device was free within {in_seconds(self.wait_limit_s)} ({why})"
        return TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.QUEUE, retriable=True)
