"""Bounds how many clips are on one device at a time. First come, first served; waits are bounded and can be stopped."""

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from phoenix.engine.shared_slots import SharedSlots
from phoenix.engine.stopping import StopToken, wait_until, woken_by
from phoenix.errors import FailureCode, Stage, TaskFailed


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
        self._held = 0

    @property
    def is_shared(self) -> bool:
        return self._shared is not None

    @property
    def held(self) -> int:
        return self._held

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def hold(self, stop: StopToken) -> Generator[float]:
        """Holds one slot during the block; yields the seconds that the caller waited for it.

        Raises `TaskFailed` (TIMEOUT) past the wait limit, `RenderStopped` when asked to stop first.
        """
        started_s = time.monotonic()
        self._acquire(stop)
        try:
            with ExitStack() as device:
                if self._shared is not None:
                    until_s = started_s + self.wait_limit_s
                    if not device.enter_context(self._shared.hold(stop, until_s=until_s)):
                        raise self._timeout("all are in use by other processes")
                yield time.monotonic() - started_s
        finally:
            with self._changed:
                self._held -= 1
                self._changed.notify_all()

    def _acquire(self, stop: StopToken) -> None:
        ticket = object()
        with woken_by(stop, self._changed):
            self._waiting.append(ticket)
            try:
                self._wait_for_turn(ticket, stop)
                self._held += 1
            finally:
                # A ticket that gives up may have been the first: those behind it must check again.
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _wait_for_turn(self, ticket: object, stop: StopToken) -> None:
        def is_my_turn() -> bool:
            return self._held < self.count and self._waiting[0] is ticket

        stop.check()
        if not wait_until(self._changed, is_my_turn, stop, timeout_s=self.wait_limit_s):
            raise self._timeout(f"{self._held} of {self.count} in use")

    def _timeout(self, why: str) -> TaskFailed:
        detail = f"no slot on the device came free within {self.wait_limit_s:g} s ({why})"
        return TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.QUEUE, retriable=True)
