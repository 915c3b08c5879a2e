"""The queue position of a waiting job, and what it waits for, computed from the same order that the feeder uses."""

from collections.abc import Mapping, Sequence
from functools import partial

from phoenix.contract.jobs import JobState
from phoenix.db.unit_of_work import Database
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.durations import read_paces
from phoenix.jobs.scheduling.eta import about, work_left_s
from phoenix.jobs.scheduling.queue_snapshot import KeptLines, QueueLine, read_line
from phoenix.jobs.scheduling.workers import QUEUES, RENDERING
from phoenix.jobs.tables import JobRow
from phoenix.jobs.views import Standing


async def find_standings(
    database: Database,
    jobs: Sequence[FullJob],
    *,
    worker_timeout_s: float,
    clips_per_key: int = 0,
    lines: KeptLines | None = None,
) -> Mapping[str, Standing]:
    """The standing of each job by its id. Reads each queue at most once, or not at all if `lines` has it cached.

    `clips_per_key`: how many clips of one key the feeder lets run at a time; 0 if as many as there are slots. Not to be
    called inside of a session: all connections would be those of callers who wait for the one that reads the line.
    """
    lines = lines or KeptLines()
    standings = await _standings_of_begun(database, [job for job in jobs if job.row.state is not JobState.QUEUED])
    for queue in QUEUES:
        here = [job for job in jobs if job.row.state is JobState.QUEUED and _queue_of(job) == queue]
        if here:
            has_cap = clips_per_key > 0 and queue in RENDERING
            read = partial(_read_line, database, queue, worker_timeout_s=worker_timeout_s, with_in_hand=has_cap)
            line = await lines.get_line(queue, read)
            standings |= {job.row.id: _standing_of_waiting(job, line, clips_per_key) for job in here}
    return standings


async def _read_line(database: Database, queue: str, *, worker_timeout_s: float, with_in_hand: bool) -> QueueLine:
    async with database.read() as session:
        return await read_line(session, queue, worker_timeout_s=worker_timeout_s, with_in_hand=with_in_hand)


def _queue_of(job: FullJob) -> str:
    return next((task.queue for task in job.tasks if task.kind is TaskKind.RENDER), "media")


async def _standings_of_begun(database: Database, jobs: Sequence[FullJob]) -> dict[str, Standing]:
    if not any(job.row.state is JobState.RUNNING for job in jobs):
        return {job.row.id: Standing() for job in jobs}
    async with database.read() as session:
        paces = await read_paces(session)
    left_s = {job.row.id: work_left_s(job, paces) if job.row.state is JobState.RUNNING else None for job in jobs}
    return {job_id: Standing(eta_s=None if left is None else about(left)) for job_id, left in left_s.items()}


def _standing_of_waiting(job: FullJob, line: QueueLine, clips_per_key: int) -> Standing:
    place = line.find_place(job)
    wait_s, work_s = line.wait_s(place), work_left_s(job, line.paces)
    eta_s = None if wait_s is None or work_s is None else about(wait_s + work_s)
    return Standing(place.jobs_ahead, _reason(job.row, place.jobs_ahead, line, clips_per_key), eta_s)


def _reason(job: JobRow, ahead: int, line: QueueLine, clips_per_key: int) -> str:
    if line.slots == 0:
        return f"No {line.name} worker is running."
    if job.model is not None and job.model not in line.served_models:
        return f"No live worker serves the model {job.model}."
    if (count := line.in_hand.get(job.owner_id)) is not None and count >= clips_per_key:
        return f"This key has {count} clip{'s' if count > 1 else ''} under way, which is as many as it may."
    if ahead:
        return f"{ahead} job{'s' if ahead > 1 else ''} will start before this one."
    return "A worker is about to start it." if line.free_slots else "It is next: every slot is busy."
