"""Drops models that nobody has used for a while, from a thread that sleeps while there is nothing to wait for."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class EvictIdle(Protocol):
    def __call__(self, *, for_s: float) -> int: ...


class IdleWatch:
    """Without a limit it does nothing."""

    def __init__(self, evict: EvictIdle, limit_s: float | None) -> None:
        self._evict, self._limit_s = evict, limit_s
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @contextmanager
    def after(self) -> Generator[None]:
        """Around the use of a model: once it is over, the wait begins anew."""
        try:
            yield
        finally:
            if self._limit_s is not None:
                self._set(threading.Timer(self._limit_s, self._evict, kwargs={"for_s": self._limit_s}))

    def close(self) -> None:
        self._set(None)

    def _set(self, timer: threading.Timer | None) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = timer
            if timer is not None:
                timer.daemon = True
                timer.start()
