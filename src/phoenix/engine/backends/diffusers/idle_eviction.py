"""Unloads models that nobody has used for a while, from a timer that only runs while models are idle."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

EvictExpired = Callable[[float], float | None]
"""Drops what has been idle for so many seconds. Returns when the next one will have been; None: nothing is idle."""


class Alarm(Protocol):
    """As `threading.Timer`."""

    daemon: bool

    def start(self) -> None: ...

    def cancel(self) -> None: ...


class IdleWatch:
    """Calls `evict` `limit_s` after the last use of a model; never if the limit is None."""

    def __init__(
        self,
        evict: EvictExpired,
        limit_s: float | None,
        *,
        set_alarm: Callable[[float, Callable[[], None]], Alarm] = threading.Timer,
    ) -> None:
        self._evict, self._limit_s, self._set_alarm = evict, limit_s, set_alarm
        self._lock = threading.Lock()
        self._alarm: Alarm | None = None
        self._is_closed = False

    @contextmanager
    def after(self) -> Generator[None]:
        """Around the use of a model: once it is over, others may have been idle for too long, and it begins to be."""
        try:
            yield
        finally:
            self._look()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._cancel()

    def _look(self) -> None:
        if self._limit_s is None:
            return
        with self._lock:
            self._cancel()
            due_s = self._evict(self._limit_s)
            if due_s is not None and not self._is_closed:
                self._alarm = self._set_alarm(due_s, self._look)
                self._alarm.daemon = True
                self._alarm.start()

    def _cancel(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
