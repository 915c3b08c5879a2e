"""How many clips may be on one device at a time. First come, first served; waits are bounded and stoppable."""

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

from phoenix.engine.stopping import StopToken, wait_until, woken_by
from phoenix.errors import FailureCode, Stage, TaskFailed


class DeviceSlots:
    """A semaphore for the device's part of a render: encoding and upload go on outside it."""

    def __init__(self, count: int, *, wait_limit_s: float) -> None:
        self.count = count
        self._wait_limit_s = wait_limit_s
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._held = 0

    @property
    def held(self) -> int:
        return self._held

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def hold(self, stop: StopToken) -> Generator[float]:
        """Holds one slot for the block; yields the seconds that it was waited for.

        Raises `TaskFailed` (TIMEOUT) past the wait limit, `RenderStopped` when asked to stop first.
        """
        waited_s = self._acquire(stop)
        try:
            yield waited_s
        finally:
            with self._changed:
                self._held -= 1
                self._changed.notify_all()

    def _acquire(self, stop: StopToken) -> float:
        ticket = object()
        started_s = time.monotonic()
        with woken_by(stop, self._changed):
            self._waiting.append(ticket)
            try:
                self._wait_for_turn(ticket, stop)
                self._held += 1
            finally:
                # A ticket that gives up may have been at the head: those behind it must look again.
                self._waiting.remove(ticket)
                self._changed.notify_all()
        return time.monotonic() - started_s

    def _wait_for_turn(self, ticket: object, stop: StopToken) -> None:
        def is_my_turn() -> bool:
            return self._held < self.count and self._waiting[0] is ticket

        stop.check()
        if not wait_until(self._changed, is_my_turn, stop, timeout_s=self._wait_limit_s):
            raise TaskFailed(
                FailureCode.TIMEOUT,
                f"no slot on the device came free within {self._wait_limit_s:g} s"
                f" ({self._held} of {self.count} in use)",
                stage=Stage.QUEUE,
                retriable=True,
            )
