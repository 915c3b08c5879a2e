"""Cooperative stops: a stop ends a wait at once, and a computation within a step.

These are stops, not cancellations: a canceled job is one of five reasons to stop a clip.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum


class StopReason(StrEnum):
    """Why a clip was stopped."""

    CANCEL = "cancel"
    PREEMPT = "preempt"
    LOST = "lost"
    DEADLINE = "deadline"
    STALLED = "stalled"


class RenderStopped(BaseException):
    """The clip was stopped.

    It is a `BaseException`, because pipelines and callbacks catch `Exception`, and would lose the stop.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class StopToken:
    """Carries a stop request to one clip. Thread-safe; the first reason wins; a stop cannot be taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._reason: StopReason | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def stop(self, reason: StopReason) -> bool:
        """Requests a stop. Returns whether this call was the first request."""
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            callbacks = tuple(self._callbacks)
        self._stopped.set()
        # Outside the lock: a callback takes another lock, and the thread that has it may be reading this token.
        for callback in callbacks:
            callback()
        return True

    def check(self) -> None:
        """Raises `RenderStopped` if a stop was requested."""
        if self._reason is not None:
            raise RenderStopped(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleeps for `seconds`. Raises `RenderStopped` as soon as a stop is requested."""
        self._stopped.wait(seconds)
        self.check()

    @contextmanager
    def on_stop(self, callback: Callable[[], None]) -> Generator[None]:
        """Calls `callback` when a stop is requested during the block; at once if it was requested before."""
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
    """Waits until `predicate` is true. The caller has the lock of `changed`. Returns whether it came true in time.

    Raises `RenderStopped` if a stop is requested first.
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
    """Takes the lock of `changed` for the block, and wakes its waiters when a stop is requested."""

    def wake() -> None:
        with changed:
            changed.notify_all()

    with stop.on_stop(wake), changed:
        yield


@contextmanager
def joint_stop_token(tokens: Sequence[StopToken]) -> Generator[StopToken]:
    """Yields a token for work that several clips share: it stops after all of `tokens` have stopped."""
    joint_token = StopToken()

    def check_all() -> None:
        reasons = [token.reason for token in tokens]
        if reasons[0] is not None and all(reasons):
            joint_token.stop(reasons[0])

    with ExitStack() as stack:
        for token in tokens:
            stack.enter_context(token.on_stop(check_all))
        yield joint_token
