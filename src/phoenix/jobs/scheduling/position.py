"""The queue position of a job and what the job waits for, computed from the same order that the dispatcher uses."""

from collections.abc import Mapping, Sequence
from functools import partial

from phoenix.contract.jobs import JobState
from phoenix.db.unit_of_work import Database
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.durations import read_duration_stats
from phoenix.jobs.scheduling.eta import round_estimate, work_left_s
from phoenix.jobs.scheduling.queue_snapshot import QueueSnapshot, QueueSnapshotCache, read_queue_snapshot
from phoenix.jobs.scheduling.workers import QUEUES, RENDER_QUEUES
from phoenix.jobs.tables import JobRow
from phoenix.jobs.views import QueuePosition


async def find_queue_positions(
    database: Database,
    jobs: Sequence[FullJob],
    *,
    worker_timeout_s: float,
    clips_per_key: int = 0,
    queue_snapshots: QueueSnapshotCache | None = None,
) -> Mapping[str, QueuePosition]:
    """The position of each job by its id. Reads each queue at most once, and not if `queue_snapshots` has it.

    `clips_per_key`: how many clips of one key the dispatcher lets run at a time; 0 means no limit. Do not call this
    inside a session: its connection would be held while another caller needs one to read the snapshot.
    """
    queue_snapshots = queue_snapshots or QueueSnapshotCache()
    queue_positions = await _positions_of_started(
        database, [job for job in jobs if job.row.state is not JobState.QUEUED]
    )
    for queue in QUEUES:
        here = [job for job in jobs if job.row.state is JobState.QUEUED and _queue_of(job) == queue]
        if here:
            has_cap = clips_per_key > 0 and queue in RENDER_QUEUES
            read = partial(_read_snapshot, database, queue, worker_timeout_s=worker_timeout_s, with_in_flight=has_cap)
            snapshot = await queue_snapshots.get_snapshot(queue, read)
            queue_positions |= {job.row.id: _position_of_queued(job, snapshot, clips_per_key) for job in here}
    return queue_positions


async def _read_snapshot(
    database: Database, queue: str, *, worker_timeout_s: float, with_in_flight: bool
) -> QueueSnapshot:
    async with database.read() as session:
        return await read_queue_snapshot(
            session, queue, worker_timeout_s=worker_timeout_s, with_in_flight=with_in_flight
        )


def _queue_of(job: FullJob) -> str:
    return next((task.queue for task in job.tasks if task.kind is TaskKind.RENDER), "media")


async def _positions_of_started(database: Database, jobs: Sequence[FullJob]) -> dict[str, QueuePosition]:
    if not any(job.row.state is JobState.RUNNING for job in jobs):
        return {job.row.id: QueuePosition() for job in jobs}
    async with database.read() as session:
        durations = await read_duration_stats(session)
    left_s = {job.row.id: work_left_s(job, durations) if job.row.state is JobState.RUNNING else None for job in jobs}
    return {
        job_id: QueuePosition(eta_s=None if left is None else round_estimate(left)) for job_id, left in left_s.items()
    }


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
