"""One attempt that this process holds: its stop switch, and when it was last renewed and last advanced. No I/O."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from phoenix.engine.stopping import StopReason, StopToken
from phoenix.jobs.claim import Claim

MonotonicClock = Callable[[], float]
"""Seconds on a monotonic clock: a jump of the wall clock must not end a lease."""

_FENCE_SHARE = 0.8


@dataclass(frozen=True)
class LeaseTerms:
    """How long a lease lasts without renewal, and how long a task may go without progress."""

    lease_s: float
    heartbeat_s: float
    stall_s: float

    @property
    def fence_s(self) -> float:
        """Seconds without renewal after which the worker stops on its own, before another can have taken over."""
        return _FENCE_SHARE * self.lease_s


class Lease:
    """Thread-safe: the working thread advances it, the keeper's thread judges it."""

    def __init__(self, claim: Claim, *, since_s: float, clock: MonotonicClock = time.monotonic) -> None:
        self.claim = claim
        self.stop = StopToken()
        self._clock = clock
        self._renewed_s = since_s
        self._advanced_s = clock()
        self._stalled_s: float | None = None
        self._resting = threading.Lock()
        self._rests = 0

    @property
    def key(self) -> tuple[str, int]:
        return self.claim.task_id, self.claim.attempt

    @property
    def is_renewable(self) -> bool:
        """Whether to renew it. A stalled one is left to lapse, so that another worker gets the task."""
        return self._stalled_s is None and self.stop.reason is not StopReason.LOST

    def advance(self) -> None:
        """The work has made progress."""
        self._advanced_s = self._clock()

    @contextmanager
    def resting(self) -> Generator[None]:
        """While it waits for its turn, its model or the database, standing still is no fault.

        Rests may overlap: the thread that renders may begin one before the thread that waits for it has ended its own.
        """
        with self._resting:
            self._rests += 1
        try:
            yield
        finally:
            self.advance()
            with self._resting:
                self._rests -= 1

    def renewed(self, sent_s: float) -> None:
        """The renewal that was sent at `sent_s` has succeeded."""
        self._renewed_s = max(self._renewed_s, sent_s)

    def judge(self, terms: LeaseTerms) -> None:
        """Stops the work if the lease may have lapsed, or if there was no progress for too long."""
        now_s = self._clock()
        if now_s - self._renewed_s > terms.fence_s:
            self.stop.stop(StopReason.LOST)
        if not self._rests and self._stalled_s is None and now_s - self._advanced_s > terms.stall_s:
            self._stalled_s = now_s
            self.stop.stop(StopReason.STALLED)

    def is_hopeless(self, terms: LeaseTerms) -> bool:
        """Whether it stalled so long ago that its lease has lapsed, but its thread has still not returned."""
        return self._stalled_s is not None and self._clock() - self._stalled_s > terms.lease_s
