"""A queue at one moment: the order of its tasks, its workers, and how long its work takes. Cached for a moment.

What a job waits for is decided in `waiting_reasons`.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import RecentRead, db_now
from phoenix.jobs.scheduling.dispatch import (
    DEFAULT_COST_S,
    MAX_SCANNED,
    count_in_flight,
    count_models_in_flight,
    list_ready,
    read_usage_s,
)
from phoenix.jobs.scheduling.durations import DurationStats, read_duration_stats
from phoenix.jobs.scheduling.fair_queue import InsertionIndex, InsertionPoint, ReadyTask, fair_order
from phoenix.jobs.scheduling.pauses import NO_PAUSES, Pauses, read_pauses
from phoenix.jobs.scheduling.shares import NO_SHARES, Shares, read_shares
from phoenix.jobs.scheduling.workers import HOLDS_SLOT, QueueWorkers, list_reported, workers_of_queue
from phoenix.jobs.tables import JobRow, TaskRow


@dataclass(frozen=True)
class WorkAhead:
    """What is ahead of a job."""

    jobs_ahead: int
    work_ahead_s: float | None
    """Seconds of all tasks ahead of the job's first one; None if it cannot be estimated."""


class _CumulativeWork(NamedTuple):
    jobs: int
    work_s: float
    unknown: int
    """How many tasks have an assumed cost."""


@dataclass(frozen=True)
class QueueSnapshot:
    """A queue as it was up to some seconds ago. A job that arrived since gets the position that it would have had."""

    name: str
    insertion_index: InsertionIndex
    running: int
    busy_s: float | None
    """Seconds of work that slots have in flight; None if part of the work cannot be estimated."""
    workers: QueueWorkers
    durations: DurationStats
    in_flight: Mapping[str, int]
    """Clips of each owner that are running or dispatched; empty without a limit."""
    read_at: datetime
    """The database's clock."""
    pauses: Pauses = NO_PAUSES
    of_models: Mapping[tuple[str, str | None], int] = field(default_factory=dict[tuple[str, str | None], int])
    """Clips that run, by owner and model; empty without such a limit."""
    shares: Shares = NO_SHARES

    def find_work_ahead(self, job: JobRow, task: TaskRow) -> WorkAhead:
        """What is ahead of the job, whose next unclaimed task is `task`."""
        if (ahead := self._work_ahead_by_job.get(job.id)) is not None:
            return ahead
        point = self.insertion_index.find_insertion_point(_ready_task(job, task))
        if self._is_cut_short and point.end == len(self) and not point.overtaken:
            # The tasks that were not scanned are ahead of the job, too.
            return WorkAhead(len(self._work_ahead_by_job), None)
        return self._work_ahead_of(point)

    def estimate_wait_s(self, ahead: WorkAhead) -> float | None:
        """Seconds until the job's first task, if all slots share the work ahead of it; None if unknown."""
        if self.workers.slots == 0 or self.busy_s is None or ahead.work_ahead_s is None:
            return None
        return (self.busy_s + ahead.work_ahead_s) / self.workers.slots

    def __len__(self) -> int:
        """The number of ready tasks."""
        return len(self.insertion_index.tasks)

    @property
    def free_slots(self) -> int:
        """How many slots of the live workers have no task."""
        return max(self.workers.slots - self.running, 0)

    @property
    def _is_cut_short(self) -> bool:
        return len(self) >= MAX_SCANNED

    @cached_property
    def _cumulative_work(self) -> Sequence[_CumulativeWork]:
        """The work ahead of each task, and of the end of the queue."""
        jobs: set[str] = set()
        before = [_CumulativeWork(0, 0.0, 0)]
        for task in self.insertion_index.tasks:
            jobs.add(task.job_id)
            last = before[-1]
            before.append(
                _CumulativeWork(len(jobs), last.work_s + task.cost_s, last.unknown + (not task.is_cost_known))
            )
        return before

    @cached_property
    def _work_ahead_by_job(self) -> Mapping[str, WorkAhead]:
        """The work ahead of each queued job, from its first task on."""
        ahead_by_job: dict[str, WorkAhead] = {}
        for number, task in enumerate(self.insertion_index.tasks):
            if task.job_id not in ahead_by_job:
                ahead_by_job[task.job_id] = self._work_ahead_of(InsertionPoint(number))
        return ahead_by_job

    def _work_ahead_of(self, point: InsertionPoint) -> WorkAhead:
        overtaken = [self.insertion_index.tasks[number] for number in point.overtaken]
        before = self._cumulative_work[point.end]
        # If one task of a job is overtaken, all are: their ranks differ only in position.
        ahead = before.jobs - len({task.job_id for task in overtaken})
        unknown = before.unknown - sum(not task.is_cost_known for task in overtaken)
        work_s = before.work_s - sum(task.cost_s for task in overtaken)
        # Nothing is ahead of a job that can start in a free slot now.
        is_free = point.end - len(overtaken) < self.free_slots
        return WorkAhead(0 if is_free else ahead, None if unknown else work_s)


async def read_queue_snapshot(session: AsyncSession, queue: str, *, with_in_flight: bool) -> QueueSnapshot:
    """The queue as it is now."""
    durations = await read_duration_stats(session)
    shares = await read_shares(session)
    usage_s = shares.weigh_usage(await read_usage_s(session, queue))
    pauses = await read_pauses(session)
    # While the queue itself is paused, its jobs keep their places.
    holding_back = pauses.of_parts()
    ready = await list_ready(session, queue, durations, with_dispatched=True, pauses=holding_back)
    tasks = fair_order(shares.weigh(ready), usage_s)
    has_limits = with_in_flight or bool(shares.limits)
    running = await _list_running(session, queue)
    return QueueSnapshot(
        name=queue,
        insertion_index=InsertionIndex(tasks, usage_s),
        running=len(running),
        busy_s=_busy_s(running, durations),
        workers=workers_of_queue(await list_reported(session), queue),
        durations=durations,
        pauses=pauses,
        in_flight=await count_in_flight(session, queue) if has_limits else {},
        of_models=await count_models_in_flight(session, queue) if shares.model_limits else {},
        shares=shares,
        read_at=(await session.execute(select(db_now()))).scalar_one(),
    )


def _ready_task(job: JobRow, task: TaskRow) -> ReadyTask:
    return ReadyTask(
        task.id,
        task.dispatch_seq,
        job.owner_id,
        job.id,
        task.position,
        job.priority,
        job.queued_at,
        DEFAULT_COST_S,
        front_at=job.moved_to_front_at,
    )


async def _list_running(session: AsyncSession, queue: str) -> Sequence[tuple[str | None, float]]:
    """(model, weight) of each task that occupies a slot."""
    statement = (
        select(col(JobRow.model), col(TaskRow.weight))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, HOLDS_SLOT)
    )
    return (await session.execute(statement)).all()


def _busy_s(running: Sequence[tuple[str | None, float]], durations: DurationStats) -> float | None:
    """Seconds left of the running tasks, which are half done on average."""
    left_s = [durations.estimate_task_s(model, weight) for model, weight in running]
    known_s = [seconds for seconds in left_s if seconds is not None]
    return sum(known_s) / 2 if len(known_s) == len(left_s) else None


_MIN_LONG = 50
"""Each job visibly moves a shorter queue: its snapshot is not used after a commit of this process."""

ReadSnapshot = Callable[[str], Awaitable[QueueSnapshot]]
"""Reads the snapshot of the queue with this name."""


class QueueSnapshotCache:
    """Caches the snapshot of each queue. It reads no queue twice at the same time: callers share the result."""

    def __init__(self, read: ReadSnapshot, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock_s = clock_s
        self._recent: dict[str, RecentRead[QueueSnapshot]] = {}

    def record_commit(self) -> None:
        """Notes that this process has just changed jobs."""
        for recent in self._recent.values():
            recent.record_commit()

    async def get_snapshot(self, queue: str) -> QueueSnapshot:
        """The cached snapshot, or a new one. If reading it fails, only the caller that reads gets the error."""
        if queue not in self._recent:
            self._recent[queue] = RecentRead(
                partial(self._read, queue), outlives_commits=_is_long, clock_s=self._clock_s
            )
        return await self._recent[queue].get()


def _is_long(snapshot: QueueSnapshot) -> bool:
    return len(snapshot) >= _MIN_LONG
