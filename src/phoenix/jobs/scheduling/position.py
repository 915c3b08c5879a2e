"""The queue position of a job and what the job waits for, computed from the same order that the dispatcher uses."""

from collections.abc import Mapping, Sequence

from phoenix.contract.jobs import JobState
from phoenix.db.unit_of_work import Database
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.durations import DurationStats, read_duration_stats
from phoenix.jobs.scheduling.eta import round_estimate, work_left_s
from phoenix.jobs.scheduling.queue_snapshot import QueueSnapshot, QueueSnapshotCache, read_queue_snapshot
from phoenix.jobs.scheduling.workers import QUEUES, RENDER_QUEUES
from phoenix.jobs.tables import JobRow
from phoenix.jobs.views import QueuePosition


class QueuePositions:
    """Finds the queue positions of jobs. One per process and event loop; its callers share the queue snapshots."""

    def __init__(self, database: Database, *, clips_per_key: int = 0) -> None:
        """`clips_per_key`: how many clips of one key the dispatcher lets run at a time; 0 means no limit."""
        self._database = database
        self._clips_per_key = clips_per_key
        self._snapshots = QueueSnapshotCache(self._read_snapshot)

    async def find(self, jobs: Sequence[FullJob]) -> Mapping[str, QueuePosition]:
        """The position of each job by its id. Raises `Unavailable` while the database is away.

        Reads each queue at most once, and not at all while its snapshot is cached. Do not call this inside a session:
        the session would hold a connection while another caller needs one to read the snapshot.
        """
        positions = await self._positions_of_started([job for job in jobs if job.row.state is not JobState.QUEUED])
        for queue in QUEUES:
            here = [job for job in jobs if job.row.state is JobState.QUEUED and _queue_of(job) == queue]
            if here:
                snapshot = await self._snapshots.get_snapshot(queue)
                positions |= {job.row.id: _position_of_queued(job, snapshot, self._clips_per_key) for job in here}
        return positions

    async def _read_snapshot(self, queue: str) -> QueueSnapshot:
        with_in_flight = self._clips_per_key > 0 and queue in RENDER_QUEUES
        async with self._database.read() as session:
            return await read_queue_snapshot(session, queue, with_in_flight=with_in_flight)

    async def _positions_of_started(self, jobs: Sequence[FullJob]) -> dict[str, QueuePosition]:
        """The positions of jobs that have started or ended: no place in a queue, only an estimate."""
        if not any(job.row.state is JobState.RUNNING for job in jobs):
            return {job.row.id: QueuePosition() for job in jobs}
        async with self._database.read() as session:
            durations = await read_duration_stats(session)
        return {job.row.id: QueuePosition(eta_s=_eta_of_started_s(job, durations)) for job in jobs}


def _queue_of(job: FullJob) -> str:
    return next((task.queue for task in job.tasks if task.kind is TaskKind.RENDER), "media")


def _eta_of_started_s(job: FullJob, durations: DurationStats) -> float | None:
    left_s = work_left_s(job, durations) if job.row.state is JobState.RUNNING else None
    return None if left_s is None else round_estimate(left_s)


def _position_of_queued(job: FullJob, snapshot: QueueSnapshot, clips_per_key: int) -> QueuePosition:
    work_ahead = snapshot.find_work_ahead(job)
    wait_s, work_s = snapshot.estimate_wait_s(work_ahead), work_left_s(job, snapshot.durations)
    eta_s = None if wait_s is None or work_s is None else round_estimate(wait_s + work_s)
    return QueuePosition(
        work_ahead.jobs_ahead, _waiting_reason(job.row, work_ahead.jobs_ahead, snapshot, clips_per_key), eta_s
    )


def _waiting_reason(job: JobRow, ahead: int, snapshot: QueueSnapshot, clips_per_key: int) -> str:
    if snapshot.slots == 0:
        return f"No {snapshot.name} worker is running."
    if job.model is not None and job.model not in snapshot.served_models:
        return f"No live worker serves the model {job.model}."
    if (count := snapshot.in_flight.get(job.owner_id)) is not None and count >= clips_per_key:
        return f"This key has {count} clip{'s' if count > 1 else ''} under way, which is as many as it may."
    if ahead:
        return f"{ahead} job{'s' if ahead > 1 else ''} will start before this one."
    return "A worker is about to start it." if snapshot.free_slots else "It is next: every slot is busy."
