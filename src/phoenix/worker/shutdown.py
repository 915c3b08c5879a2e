"""When, in which order, how fast and with which exit status a worker process ends."""

import asyncio
from collections.abc import Callable, Sequence

import psutil

from phoenix.engine.interface import ProcessUnfit
from phoenix.engine.stop_token import StopReason
from phoenix.queues.consumer import QueueConsumer
from phoenix.settings import WorkerSettings
from phoenix.telemetry.logs import get_logger
from phoenix.worker.child_process import STOP_GRACE_S, ExitStatus
from phoenix.worker.leases import LeaseHeartbeat
from phoenix.worker.runner import AttemptOutcome, Failed


def resident_bytes() -> int:
    """Resident memory of this process in bytes, with memory-mapped weights and without its ffmpeg children."""
    return psutil.Process().memory_info().rss


_logger = get_logger(__name__)


class ShutdownState:
    """The stages of a shutdown: `draining`, `grace_started` and `immediate`.

    While `draining`, the worker claims no more tasks. After `grace_started` it finishes its tasks within the grace
    period. After `immediate` it hands them back now. A recycling process starts the first stage, a signal the second,
    and another signal the third. A process recycles after `recycle_after` tasks, or if its memory exceeds
    `memory_limit_bytes` after a task; None means no limit.
    """

    def __init__(
        self,
        *,
        recycle_after: int,
        memory_limit_bytes: int | None = None,
        memory_bytes: Callable[[], int] = resident_bytes,
    ) -> None:
        self.draining = asyncio.Event()
        self.grace_started = asyncio.Event()
        self.immediate = asyncio.Event()
        self.exit = ExitStatus.DONE
        self.fault: str | None = None
        """What broke the process, if something did."""
        self._tasks_left = recycle_after
        self._memory_limit_bytes = memory_limit_bytes
        self._memory_bytes = memory_bytes

    @classmethod
    def from_settings(cls, settings: WorkerSettings) -> "ShutdownState":
        return cls(recycle_after=settings.recycle_after_tasks, memory_limit_bytes=settings.recycle_rss_bytes)

    def request(self) -> None:
        """Starts the next stage. Signal handlers call it."""
        if self.grace_started.is_set():
            self.immediate.set()
        self.exit = ExitStatus.DONE
        self.grace_started.set()
        self.draining.set()

    def record(self, outcome: AttemptOutcome, *, may_recycle: bool = True) -> None:
        """Counts an ended attempt. Recycles the process if it is due or too large, and ends a broken process.

        `may_recycle`: False while the worker is drained, since the process that follows it would not be.
        """
        self._tasks_left -= 1
        if isinstance(outcome, Failed) and isinstance(outcome.failure, ProcessUnfit):
            self.abort(outcome.failure.detail)
        elif not may_recycle:
            return
        elif self._tasks_left <= 0 or self._has_grown_too_large():
            self._start_draining(ExitStatus.RECYCLE)

    def abort(self, fault: str) -> None:
        """Ends a broken process at once: its next renders would fail or be wrong."""
        self.fault = fault
        self.grace_started.set()
        self.immediate.set()
        self._start_draining(ExitStatus.UNFIT)

    def _start_draining(self, status: ExitStatus) -> None:
        if not self.draining.is_set():
            self.exit = status
            self.draining.set()

    def _has_grown_too_large(self) -> bool:
        limit_bytes = self._memory_limit_bytes
        if limit_bytes is None or self.draining.is_set() or (held_bytes := self._memory_bytes()) <= limit_bytes:
            return False
        _logger.warning("the process has grown past its limit", memory_bytes=held_bytes, limit_bytes=limit_bytes)
        return True


class Consumers:
    """Runs queue consumers from the start until they are paused and their work has ended."""

    def __init__(self, consumers: Sequence[QueueConsumer]) -> None:
        self._consumers = consumers
        self._running = [asyncio.create_task(consumer.run()) for consumer in consumers]

    def pause(self) -> None:
        for consumer in self._consumers:
            consumer.drain()

    async def end_within(self, seconds: float | None, *, unless: asyncio.Event | None = None) -> bool:
        """Waits until all work has ended, for `seconds` at most, or until `unless` is set. Returns whether it has."""
        ended = asyncio.create_task(asyncio.wait(self._running))
        interrupted = asyncio.create_task((unless or asyncio.Event()).wait())
        await asyncio.wait({ended, interrupted}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (ended, interrupted):
            waiting.cancel()
        return all(task.done() for task in self._running)


async def drain(consumers: Consumers, shutdown: ShutdownState, heartbeat: LeaseHeartbeat, *, grace_s: float) -> None:
    """Pauses the consumers, waits for running tasks for the grace period, then stops them and hands them back."""
    consumers.pause()
    if await consumers.end_within(None, unless=shutdown.grace_started):
        return
    if await consumers.end_within(grace_s, unless=shutdown.immediate):
        return
    heartbeat.stop_all(StopReason.PREEMPT)
    if not await consumers.end_within(STOP_GRACE_S):
        _logger.error("tasks that do not stop are abandoned", tasks=len(heartbeat.held_leases()))
