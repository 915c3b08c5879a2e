"""The queue position of an unfinished job, its estimate, and what it waits for, from snapshots of the queues."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from phoenix.contract import JobState, QueueName, WaitingCode
from phoenix.db import Database
from phoenix.jobs.repository import FullJob, list_full_jobs
from phoenix.jobs.scheduling.durations import DurationStats, read_duration_stats
from phoenix.jobs.scheduling.eta import round_estimate, work_left_s
from phoenix.jobs.scheduling.queue_snapshots import QueueSnapshot, QueueSnapshotCache, read_queue_snapshot
from phoenix.jobs.scheduling.waiting_reasons import (
    explain_claimed_wait,
    explain_hold,
    explain_wait,
    find_next_unclaimed,
)
from phoenix.jobs.scheduling.workers import QUEUES, RENDER_QUEUES
from phoenix.jobs.tables import TaskRow
from phoenix.jobs.views import QueuePosition
from phoenix.storage.reserve import Shortage

_NEVER = (
    WaitingCode.PAUSED,
    WaitingCode.NO_WORKER_FOR_QUEUE,
    WaitingCode.NO_WORKER_FOR_MODEL,
    WaitingCode.STORAGE_FULL,
)
"""Nobody knows when such a wait ends."""


@dataclass(frozen=True)
class NextJob:
    """A job with tasks that wait for their turn in a queue, and how many these are."""

    job: FullJob
    position: QueuePosition
    tasks: int


class QueuePositions:
    """Finds the queue positions of jobs. One per process and event loop; its callers share the queue snapshots."""

    def __init__(
        self,
        database: Database,
        *,
        clips_per_key: int = 0,
        find_shortage: Callable[[], Shortage | None] = lambda: None,
    ) -> None:
        """`clips_per_key`: how many clips of one key the dispatcher lets run at a time; 0 means no limit.

        `find_shortage`: the disk below its reserve, if there is one; no worker of this host claims a task then.
        """
        self._database = database
        self._clips_per_key = clips_per_key
        self._find_shortage = find_shortage
        self._snapshots = QueueSnapshotCache(self._read_snapshot)

    def record_commit(self) -> None:
        """Notes that this process has just changed jobs: positions found after this call show the change."""
        self._snapshots.record_commit()

    async def find(self, jobs: Sequence[FullJob]) -> Mapping[str, QueuePosition]:
        """The position of each job by its id. Raises `Unavailable` while the database is away.

        Reads each queue at most once, and not at all while its snapshot is cached. Do not call this inside a session:
        the session would hold a connection while another caller needs one to read the snapshot.
        """
        positions = await self._positions_of_started(jobs)
        waiting = [(job, task) for job in jobs if (task := find_next_unclaimed(job)) is not None]
        for queue in QUEUES:
            here = [(job, task) for job, task in waiting if task.queue == queue]
            if here:
                snapshot = await self._snapshots.get_snapshot(queue)
                positions |= {job.row.id: self._position_of_waiting(job, task, snapshot) for job, task in here}
        return positions

    async def list_next(self, queue: QueueName, *, limit: int) -> tuple[Sequence[NextJob], bool]:
        """The jobs whose tasks start next in a queue, in this order, and whether more than `limit` wait.

        Jobs of a paused model or key are left out. Raises like `find`, and must not be called inside a session either.
        """
        snapshot = await self._snapshots.get_snapshot(queue)
        waiting = Counter(task.job_id for task in snapshot.insertion_index.tasks)
        first = list(waiting)[:limit]
        async with self._database.read() as session:
            found = {job.row.id: job for job in await list_full_jobs(session, first)}
        positions = await self.find(list(found.values()))
        jobs = [NextJob(found[each], positions[each], waiting[each]) for each in first if each in found]
        return jobs, len(waiting) > limit

    async def _read_snapshot(self, queue: str) -> QueueSnapshot:
        with_in_flight = self._clips_per_key > 0 and queue in RENDER_QUEUES
        async with self._database.read() as session:
            return await read_queue_snapshot(session, queue, with_in_flight=with_in_flight)

    async def _positions_of_started(self, jobs: Sequence[FullJob]) -> dict[str, QueuePosition]:
        """The positions of jobs with a claimed part, and of held and ended jobs: without a place in a queue."""
        if not any(job.row.state is JobState.RUNNING for job in jobs):
            return {job.row.id: QueuePosition(None, explain_hold(job.row)) for job in jobs}
        async with self._database.read() as session:
            durations = await read_duration_stats(session)
        reasons = {job.row.id: explain_hold(job.row) or explain_claimed_wait(job) for job in jobs}
        return {job.row.id: QueuePosition(None, reasons[job.row.id], _eta_of_started_s(job, durations)) for job in jobs}

    def _position_of_waiting(self, job: FullJob, task: TaskRow, snapshot: QueueSnapshot) -> QueuePosition:
        ahead = snapshot.find_work_ahead(job.row, task)
        reason = explain_wait(
            job.row,
            task,
            snapshot,
            jobs_ahead=ahead.jobs_ahead,
            clips_per_key=self._clips_per_key,
            shortage=self._find_shortage(),
        )
        wait_s = None if reason.code in _NEVER else snapshot.estimate_wait_s(ahead)
        work_s = work_left_s(job, snapshot.durations)
        eta_s = None
        if wait_s is not None and work_s is not None:
            back_off_s = max((task.eligible_at - snapshot.read_at).total_seconds(), 0.0)
            eta_s = round_estimate(max(wait_s, back_off_s) + work_s)
        is_queued = job.row.state is JobState.QUEUED
        return QueuePosition(ahead.jobs_ahead if is_queued else None, reason, eta_s, wait_s)


def _eta_of_started_s(job: FullJob, durations: DurationStats) -> float | None:
    left_s = work_left_s(job, durations) if job.row.state is JobState.RUNNING else None
    return None if left_s is None else round_estimate(left_s)
