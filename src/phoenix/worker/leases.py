"""Renews this process's leases from a thread of its own, however busy the event loop and the renders are."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from phoenix.db.unit_of_work import Database
from phoenix.engine.cancellation import StopReason, StopToken
from phoenix.errors import Unavailable
from phoenix.jobs.execution.claim import Claim, renew_leases
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.telemetry.logs import get_logger
from phoenix.worker.child_process import ExitStatus

MonotonicClock = Callable[[], float]
"""Seconds on a monotonic clock: a jump of the wall clock must not end a lease."""

_FENCE_SHARE = 0.8


@dataclass(frozen=True)
class LeaseTerms:
    """How long a lease lasts without renewal, and how long a task may go without progress."""

    lease_s: float
    heartbeat_s: float
    stall_timeout_s: float

    @property
    def fence_s(self) -> float:
        """Seconds without renewal after which the worker stops on its own, before another can have taken over."""
        return _FENCE_SHARE * self.lease_s


class HeldLease:
    """Thread-safe: the working thread records its progress, the heartbeat's thread checks it."""

    def __init__(self, claim: Claim, *, since_s: float, clock: MonotonicClock = time.monotonic) -> None:
        self.claim = claim
        self.stop = StopToken()
        self._clock = clock
        self._last_renewal_s = since_s
        self._last_progress_s = clock()
        self._stalled_s: float | None = None
        self._pause_lock = threading.Lock()
        self._pauses = 0

    @property
    def key(self) -> tuple[str, int]:
        return self.claim.task_id, self.claim.attempt

    @property
    def is_renewable(self) -> bool:
        """Whether to renew it. A stalled one is left to expire, so that another worker gets the task."""
        return self._stalled_s is None and self.stop.reason is not StopReason.LOST

    def record_progress(self) -> None:
        """The work has made progress."""
        self._last_progress_s = self._clock()

    @contextmanager
    def pause_stall_timer(self) -> Generator[None]:
        """While it waits for its turn, its model or the database, no progress is no stall.

        Pauses may overlap: the thread that renders may begin one before the thread that waits for it has ended its own.
        """
        with self._pause_lock:
            self._pauses += 1
        try:
            yield
        finally:
            self.record_progress()
            with self._pause_lock:
                self._pauses -= 1

    def mark_renewed(self, sent_s: float) -> None:
        """The renewal that was sent at `sent_s` has succeeded."""
        self._last_renewal_s = max(self._last_renewal_s, sent_s)

    def check(self, terms: LeaseTerms) -> None:
        """Stops the work if the lease may have expired, or if there was no progress for too long."""
        now_s = self._clock()
        if now_s - self._last_renewal_s > terms.fence_s:
            self.stop.stop(StopReason.LOST)
        if not self._pauses and self._stalled_s is None and now_s - self._last_progress_s > terms.stall_timeout_s:
            self._stalled_s = now_s
            self.stop.stop(StopReason.STALLED)

    def is_hung(self, terms: LeaseTerms) -> bool:
        """Whether it stalled so long ago that its lease has expired, but its thread has still not returned."""
        return self._stalled_s is not None and self._clock() - self._stalled_s > terms.lease_s


_logger = get_logger(__name__)

_CHECK_INTERVAL_S = 0.25
_RETRY_DELAY_S = 1.0


class LeaseHeartbeat:
    """Renews every lease in one statement, reports the worker, and stops what was canceled, lost or has stalled.

    `open_database` is called in the heartbeat's thread: connections belong to the event loop that opened them.
    """

    def __init__(
        self,
        open_database: Callable[[], Database],
        worker_id: str,
        terms: LeaseTerms,
        describe: Callable[[], WorkerReport],
        *,
        end_process: Callable[[int], object] = os._exit,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        self.terms = terms
        self._open_database = open_database
        self._worker_id = worker_id
        self._describe = describe
        self._end_process = end_process
        self._clock = clock
        self._leases: dict[tuple[str, int], HeldLease] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_event = asyncio.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        """Stops renewing. Blocks until the thread has ended, or for `timeout_s`."""
        self._is_closing = True
        self._wake()
        self._thread.join(timeout_s)

    def add(self, claim: Claim, *, since_s: float) -> HeldLease:
        """Renews the lease of a task from now on. `since_s`: the monotonic clock just before the claim."""
        lease = HeldLease(claim, since_s=since_s, clock=self._clock)
        with self._lock:
            self._leases[lease.key] = lease
        return lease

    def remove(self, lease: HeldLease) -> None:
        with self._lock:
            self._leases.pop(lease.key, None)

    def held_leases(self) -> list[HeldLease]:
        with self._lock:
            return list(self._leases.values())

    def renew_now(self, task_id: str = "") -> None:
        """Asks for a renewal now if this process holds the task, or any task if `task_id` is empty."""
        if any(task_id in ("", lease.claim.task_id) for lease in self.held_leases()):
            self._wake()

    def stop_all(self, reason: StopReason) -> None:
        for lease in self.held_leases():
            lease.stop.stop(reason)

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the thread has ended, and its loop with it
                self._loop.call_soon_threadsafe(self._wake_event.set)

    def _run(self) -> None:
        asyncio.run(self._renew_until_closed())

    async def _renew_until_closed(self) -> None:
        self._loop = asyncio.get_running_loop()
        watchdog = asyncio.create_task(self._watch_leases())
        database = self._open_database()
        try:
            while not self._is_closing:
                self._wake_event.clear()
                delay_s = (
                    self.terms.heartbeat_s
                    if await self._beat(database)
                    else min(_RETRY_DELAY_S, self.terms.heartbeat_s)
                )
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._wake_event.wait()
        finally:
            watchdog.cancel()
            await database.close()

    async def _beat(self, database: Database) -> bool:
        """One renewal and one report, in one transaction. Returns whether it succeeded."""
        leases = [lease for lease in self.held_leases() if lease.is_renewable]
        task_ids = [lease.claim.task_id for lease in leases]
        sent_s = self._clock()
        try:
            # Before the transaction: a device takes seconds to answer the first question, or one while it is busy.
            described = self._describe()
            async with database.write() as uow:
                held = await renew_leases(uow, worker_id=self._worker_id, task_ids=task_ids, lease_s=self.terms.lease_s)
                await record_heartbeat(uow, described, lease_s=self.terms.lease_s)
        except Unavailable as error:
            _logger.warning("leases not renewed", held=len(leases), error=error.detail)
            return False
        except Exception:
            # The watchdog stops what is held before its leases end; this thread must live on to try again.
            _logger.exception("leases not renewed")
            return False
        for lease in leases:
            _apply_renewal(lease, held, sent_s)
        return True

    async def _watch_leases(self) -> None:
        """Separate from the heartbeat, which a hanging database can hold up for longer than a lease."""
        while True:
            for lease in self.held_leases():
                lease.check(self.terms)
                if lease.is_hung(self.terms):
                    _logger.critical("a task hangs; ending the process", task_id=lease.claim.task_id)
                    self._end_process(ExitStatus.STALLED)
            await asyncio.sleep(_CHECK_INTERVAL_S)


def _apply_renewal(lease: HeldLease, held: Mapping[tuple[str, int], str | None], sent_s: float) -> None:
    if lease.key not in held:
        lease.stop.stop(StopReason.LOST)
        return
    lease.mark_renewed(sent_s)
    if (reason := held[lease.key]) is not None:
        lease.stop.stop(StopReason.DEADLINE if reason == StopReason.DEADLINE else StopReason.CANCEL)
