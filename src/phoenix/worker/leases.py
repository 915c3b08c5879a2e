"""The leases that this process holds, and the thread that renews them while the event loop and the renders are busy."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from phoenix.db.unit_of_work import Database
from phoenix.engine.stop_token import StopReason, StopToken
from phoenix.errors import Stage, Unavailable
from phoenix.jobs.execution.claim import Claim, renew_leases
from phoenix.jobs.lifecycle import first_stage, is_finishing, is_waiting
from phoenix.jobs.scheduling.workers import WorkerOrders, WorkerReport, record_heartbeat
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.records.stage_timeline import StageTimeline

MonotonicClock = Callable[[], float]
"""Returns seconds of a monotonic clock. A jump of the wall clock must not end a lease."""

_FENCE_SHARE = 0.8


@dataclass(frozen=True)
class LeaseTerms:
    """How long a lease lasts without a renewal, and how long a task may run without progress."""

    lease_s: float
    heartbeat_s: float
    stall_timeout_s: float

    @property
    def fence_s(self) -> float:
        """Seconds without a renewal after which a worker stops a task by itself, before another worker can claim it."""
        return _FENCE_SHARE * self.lease_s


class HeldLease:
    """A claimed task and the state of its lease.

    Thread-safe: the thread that works records progress, and the heartbeat thread checks it.
    """

    def __init__(self, claim: Claim, *, since_s: float, clock: MonotonicClock = time.monotonic) -> None:
        self.claim = claim
        self.stop = StopToken()
        self.entered_stage: Stage | None = None
        """The stage that the work entered last; None before the first."""
        self.reported_stage: Stage | None = None
        """The stage in the database."""
        self.timeline = StageTimeline(clock)
        self.peak_memory_bytes: int | None = None
        """The most device memory during the call of a clip; None until it is known, and on a CPU."""
        self.claim_span_s = (since_s, clock())
        """When the claim began and ended, on the clock of the timeline."""
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
    def stage(self) -> Stage:
        """What the work does now."""
        return self.entered_stage or first_stage(self.claim.kind)

    @property
    def is_renewable(self) -> bool:
        """Whether to renew the lease. The lease of a stalled task expires, so that another worker gets the task."""
        return self._stalled_s is None and self.stop.reason is not StopReason.LOST

    @property
    def has_unreported_finish(self) -> bool:
        """Whether the clip has given its slot back, and the database does not know it yet."""
        kind = self.claim.kind
        return is_finishing(kind, self.stage) and not is_finishing(kind, self.reported_stage) and self.is_renewable

    @property
    def has_unreported_wait(self) -> bool:
        """Whether the clip began or ended a wait on this worker, and the database does not know it yet."""
        kind = self.claim.kind
        return is_waiting(kind, self.entered_stage) != is_waiting(kind, self.reported_stage) and self.is_renewable

    def record_progress(self) -> None:
        """Restarts the stall timer, because the work has made progress."""
        self._last_progress_s = self._clock()

    def enter_stage(self, stage: Stage | None) -> None:
        """Records the stage of the work. None, between two stages, leaves the stage as it is."""
        self.timeline.enter(stage)
        if stage is not None:
            self.entered_stage = stage

    @contextmanager
    def pause_stall_timer(self) -> Generator[None]:
        """Pauses the stall timer while the work waits for a slot, a model or the database.

        Pauses may overlap: the rendering thread may begin a pause before the waiting thread has ended its own pause.
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
        """Records that the renewal sent at `sent_s` has succeeded."""
        self._last_renewal_s = max(self._last_renewal_s, sent_s)

    def check(self, terms: LeaseTerms) -> None:
        """Stops the work if the lease may have expired, or if the work has made no progress for too long."""
        now_s = self._clock()
        if now_s - self._last_renewal_s > terms.fence_s:
            self.stop.stop(StopReason.LOST)
        if not self._pauses and self._stalled_s is None and now_s - self._last_progress_s > terms.stall_timeout_s:
            self._stalled_s = now_s
            self.stop.stop(StopReason.STALLED)

    def is_hung(self, terms: LeaseTerms) -> bool:
        """Whether the task stalled so long ago that its lease has expired. Its thread has not returned since."""
        return self._stalled_s is not None and self._clock() - self._stalled_s > terms.lease_s


_logger = get_logger(__name__)

_CHECK_INTERVAL_S = 0.25
_RETRY_DELAY_S = 1.0


class LeaseHeartbeat:
    """Renews every lease in one statement, reports the worker, and stops tasks that were canceled, lost or stalled.

    `open_database` is called in the heartbeat thread, because connections belong to the event loop that opened them.
    `on_orders` is called there after each heartbeat.
    """

    def __init__(
        self,
        open_database: Callable[[], Database],
        worker_id: str,
        terms: LeaseTerms,
        describe: Callable[[], WorkerReport],
        *,
        on_orders: Callable[[WorkerOrders], object] = lambda _: None,
        end_process: Callable[[int], object] = os._exit,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        self.terms = terms
        self._open_database = open_database
        self._worker_id = worker_id
        self._describe = describe
        self._on_orders = on_orders
        self._end_process = end_process
        self._clock = clock
        self._missed = FailureEpisode(_logger, "leases not renewed", "leases are renewed again")
        self._leases: dict[tuple[str, int], HeldLease] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_event = asyncio.Event()
        self._is_closing = False
        self._can_report = False
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        """Stops the renewals. Blocks until the thread has ended, for at most `timeout_s`."""
        self._is_closing = True
        self._wake()
        self._thread.join(timeout_s)

    def add(self, claim: Claim, *, since_s: float) -> HeldLease:
        """Renews the lease of a claimed task from now on. `since_s`: the monotonic clock just before the claim."""
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

    def renew_now(self, called: str = "") -> None:
        """Requests a renewal now if the worker is called, by its own id or by the id of a task that it holds.

        An empty text calls every worker that holds a task.
        """
        is_called = called == self._worker_id
        if is_called or any(called in ("", lease.claim.task_id) for lease in self.held_leases()):
            self._wake()

    def stop_all(self, reason: StopReason) -> None:
        for lease in self.held_leases():
            lease.stop.stop(reason)

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the thread and its loop have ended
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
                self._can_report = False
                self._can_report = await self._beat(database)
                delay_s = self.terms.heartbeat_s if self._can_report else min(_RETRY_DELAY_S, self.terms.heartbeat_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._wake_event.wait()
        finally:
            watchdog.cancel()
            await database.close()

    async def _beat(self, database: Database) -> bool:
        """Renews the leases and reports the worker in one transaction. Returns whether the transaction succeeded."""
        leases = [lease for lease in self.held_leases() if lease.is_renewable]
        stages = {lease.claim.task_id: lease.entered_stage for lease in leases}
        sent_s = self._clock()
        try:
            # Before the transaction: the first query of a device takes seconds, and so does any query of a busy device.
            described = self._describe()
            async with database.write() as uow:
                held = await renew_leases(
                    uow,
                    worker_id=self._worker_id,
                    task_ids=list(stages),
                    lease_s=self.terms.lease_s,
                    stages=stages,
                )
                orders = await record_heartbeat(uow, described, lease_s=self.terms.lease_s)
        except Exception as error:  # noqa: BLE001 - the failure episode logs it
            # This thread must survive to try again. The watchdog stops the tasks before their leases end.
            self._missed.fail(error, is_unexpected=not isinstance(error, Unavailable), held=len(leases))
            return False
        self._missed.end()
        self._on_orders(orders)
        for lease in leases:
            lease.reported_stage = stages[lease.claim.task_id]
            _apply_renewal(lease, held, sent_s)
        return True

    async def _watch_leases(self) -> None:
        """Checks the leases apart from the heartbeat, which a hanging database can delay for longer than a lease."""
        while True:
            for lease in self.held_leases():
                lease.check(self.terms)
                if lease.is_hung(self.terms):
                    _logger.critical("a task hangs; the process ends", task_id=lease.claim.task_id)
                    self._end_process(ExitStatus.STALLED)
                # Clients see what a clip waits for. A wait that ends before this check is not worth a write.
                if lease.has_unreported_wait and self._can_report:
                    self._wake_event.set()
            await asyncio.sleep(_CHECK_INTERVAL_S)


def _apply_renewal(lease: HeldLease, held: Mapping[tuple[str, int], str | None], sent_s: float) -> None:
    if lease.key not in held:
        lease.stop.stop(StopReason.LOST)
        return
    lease.mark_renewed(sent_s)
    if (reason := held[lease.key]) is not None:
        lease.stop.stop(StopReason.DEADLINE if reason == StopReason.DEADLINE else StopReason.CANCEL)
