"""Unloads models after a time without use, from a timer that runs only while models are idle."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

EvictExpired = Callable[[float], float | None]
"""Drops the models that were idle for that many seconds.

Returns the seconds until the next idle model reaches that time; None if no model is idle.
"""


class Timer(Protocol):
    """The part of `threading.Timer` that is used."""

    daemon: bool

    def start(self) -> None: ...

    def cancel(self) -> None: ...


class IdleEvictor:
    """Calls `evict` when `limit_s` have passed since the last use of a model. Calls nothing if the limit is None."""

    def __init__(
        self,
        evict: EvictExpired,
        limit_s: float | None,
        *,
        make_timer: Callable[[float, Callable[[], None]], Timer] = threading.Timer,
    ) -> None:
        self._evict, self._limit_s, self._make_timer = evict, limit_s, make_timer
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        self._is_closed = False

    @contextmanager
    def evict_after(self) -> Generator[None]:
        """Covers the use of a model.

        At its end, models that were idle for too long are dropped, and the timer restarts.
        """
        try:
            yield
        finally:
            self._evict_and_rearm()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._cancel()

    def _evict_and_rearm(self) -> None:
        if self._limit_s is None:
            return
        with self._lock:
            self._cancel()
            due_s = self._evict(self._limit_s)
            if due_s is not None and not self._is_closed:
                self._timer = self._make_timer(due_s, self._evict_and_rearm)
                self._timer.daemon = True
                self._timer.start()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
