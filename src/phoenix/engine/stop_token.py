"""Cooperative stops: a clip hears of one at once while it waits, and within a step while it computes."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum


class StopReason(StrEnum):
    CANCEL = "cancel"
    PREEMPT = "preempt"
    LOST = "lost"
    DEADLINE = "deadline"
    STALLED = "stalled"


class RenderStopped(BaseException):
    """The clip was asked to stop, and has.

    Not an `Exception`: pipelines and callbacks catch those, and a stop that is caught is lost.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class StopToken:
    """One clip's stop switch. Thread-safe; the first reason wins, and it cannot be reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._reason: StopReason | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def stop(self, reason: StopReason) -> bool:
        """Asks for a stop. Returns whether this call was the first to ask."""
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            callbacks = tuple(self._callbacks)
        self._stopped.set()
        # Outside the lock: a callback takes its own lock, whose holder may be reading this token.
        for callback in callbacks:
            callback()
        return True

    def check(self) -> None:
        """Raises `RenderStopped` if a stop was asked for."""
        if self._reason is not None:
            raise RenderStopped(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleeps for `seconds`. Raises `RenderStopped` the moment a stop is asked for."""
        self._stopped.wait(seconds)
        self.check()

    @contextmanager
    def on_stop(self, callback: Callable[[], None]) -> Generator[None]:
        """Calls `callback` when a stop is asked for inside the block; at once if it already was."""
        with self._lock:
            self._callbacks.append(callback)
            already_stopped = self._reason is not None
        try:
            if already_stopped:
                callback()
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


def wait_until(
    changed: threading.Condition,
    predicate: Callable[[], bool],
    stop: StopToken,
    *,
    timeout_s: float | None = None,
) -> bool:
    """Waits for `predicate` under a condition that is already held. Returns whether it came true in time.

    Raises `RenderStopped` when a stop is asked for first.
    """
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    while not predicate():
        stop.check()
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            return False
        changed.wait(left_s)
    return True


@contextmanager
def lock_and_wake_on_stop(stop: StopToken, changed: threading.Condition) -> Generator[None]:
    """Holds `changed` for the block, and wakes its waiters when `stop` is asked for."""

    def wake() -> None:
        with changed:
            changed.notify_all()

    with stop.on_stop(wake), changed:
        yield


@contextmanager
def joint_stop_token(tokens: Sequence[StopToken]) -> Generator[StopToken]:
    """A token that stops once all of these have: for work that several share."""
    joint_token = StopToken()

    def check_all() -> None:
        reasons = [token.reason for token in tokens]
        if reasons[0] is not None and all(reasons):
            joint_token.stop(reasons[0])

    with ExitStack() as stack:
        for token in tokens:
            stack.enter_context(token.on_stop(check_all))
        yield joint_token
