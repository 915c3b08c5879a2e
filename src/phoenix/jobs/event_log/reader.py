"""The durable log as streams read it: events from SQL, and snapshots combined with the latest progress."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import false, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract import DurableEvent, JobSnapshot
from phoenix.db import NEWER_VERSION_RETRY_AFTER_S, Database, db_now
from phoenix.errors import NewerVersionError, NotFound
from phoenix.events.log_interface import REPLAY_LIMIT, LogHead, LogPosition, OwnerSnapshot
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.jobs import views
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.progress import recorded_progress
from phoenix.jobs.repository import FullJob, list_full_jobs, list_unfinished
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.tables import Document, EventRow, JobRow, OwnerRow, TaskRow
from phoenix.telemetry.logs import get_logger

_JOBS_PER_QUERY = 5000
"""Both databases limit a statement to about 32,000 parameters."""


_logger = get_logger(__name__)
_durable_event: TypeAdapter[DurableEvent] = TypeAdapter(DurableEvent)


def _read_event(data: Document) -> DurableEvent:
    """Raises `NewerVersionError` if only a newer version can read the event."""
    try:
        return _durable_event.validate_python(data)
    except ValidationError:
        _logger.warning("found an event of a newer version", job_id=data.get("job_id"), type=data.get("type"))
        raise NewerVersionError(retry_after_s=NEWER_VERSION_RETRY_AFTER_S) from None


async def replay(session: AsyncSession, job_id: str, after_seq: int, limit: int = REPLAY_LIMIT) -> list[DurableEvent]:
    """The first `limit` events of a job after a number, oldest first."""
    statement = (
        select(col(EventRow.data))
        .where(col(EventRow.job_id) == job_id, col(EventRow.seq) > after_seq)
        .order_by(col(EventRow.seq))
        .limit(limit)
    )
    return [_read_event(data) for data in await session.scalars(statement)]


async def replay_many(
    session: AsyncSession, cursors: Collection[tuple[str, int]], limit: int
) -> dict[tuple[str, int], list[DurableEvent]]:
    """Like `replay`, for many (job id, number) in one query. Numbers have no gaps, so a range bounds the rows."""
    wanted = [
        (col(EventRow.job_id) == job_id) & col(EventRow.seq).between(after + 1, after + limit)
        for job_id, after in cursors
    ]
    statement = select(col(EventRow.data)).where(or_(false(), *wanted)).order_by(col(EventRow.seq))
    of_job: dict[str, list[DurableEvent]] = {}
    for data in await session.scalars(statement):
        event = _read_event(data)
        of_job.setdefault(event.job_id, []).append(event)
    return {
        (job_id, after): [event for event in of_job.get(job_id, ()) if after < event.seq <= after + limit]
        for job_id, after in cursors
    }


async def replay_owner(
    session: AsyncSession, owner_id: str, after_owner_seq: int, limit: int
) -> list[tuple[int, DurableEvent]]:
    """Events of all jobs of an owner after a number in the owner's log, oldest first, each with its number."""
    statement = (
        select(col(EventRow.owner_seq), col(EventRow.data))
        .where(col(EventRow.owner_id) == owner_id, col(EventRow.owner_seq) > after_owner_seq)
        .order_by(col(EventRow.owner_seq))
        .limit(limit)
    )
    rows = await session.execute(statement)
    return [(owner_seq, _read_event(data)) for owner_seq, data in rows]


async def read_owner_log_heads(session: AsyncSession, owner_ids: Collection[str]) -> Mapping[str, int]:
    """The last number by owner id. An owner that never had a job is left out."""
    statement = select(col(OwnerRow.id), col(OwnerRow.last_seq)).where(col(OwnerRow.id).in_(owner_ids))
    rows = await session.execute(statement)
    return dict(rows.all())


async def read_log_heads(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, LogHead]:
    """The head of the log by job id, in one query for thousands of jobs. Deleted jobs are left out."""
    found: dict[str, LogHead] = {}
    for first in range(0, len(job_ids), _JOBS_PER_QUERY):
        statement = select(col(JobRow.id), col(JobRow.last_seq), col(JobRow.state), col(JobRow.owner_id)).where(
            col(JobRow.id).in_(job_ids[first : first + _JOBS_PER_QUERY])
        )
        for job_id, seq, state, owner_id in await session.execute(statement):
            found[job_id] = LogHead(seq, state.is_terminal, owner_id)
    return found


@dataclass(frozen=True)
class TaskProgress:
    """The fields of a task that the progress of its job depends on."""

    kind: TaskKind
    position: int
    state: TaskState
    weight: float
    attempt: int
    progress: Document | None


async def list_task_progress(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, Sequence[TaskProgress]]:
    """The tasks by job id, in one query for thousands of jobs. Deleted jobs are left out."""
    found: dict[str, list[TaskProgress]] = {}
    for first in range(0, len(job_ids), _JOBS_PER_QUERY):
        named = col(TaskRow.job_id).in_(job_ids[first : first + _JOBS_PER_QUERY])
        statement = select(
            col(TaskRow.job_id),
            col(TaskRow.kind),
            col(TaskRow.position),
            col(TaskRow.state),
            col(TaskRow.weight),
            col(TaskRow.attempt),
            col(TaskRow.progress),
        ).where(named)
        for job_id, kind, position, state, weight, attempt, progress in (await session.execute(statement)).all():
            task = TaskProgress(kind, position, state, weight, attempt, progress)
            found.setdefault(job_id, []).append(task)
    return found


ReadProgress = Callable[[Collection[str]], Awaitable[Mapping[str, ProgressSnapshot]]]

MAX_SNAPSHOTS = 100
"""The most unfinished jobs that a stream of all jobs starts with. If there are more, it starts with the newest."""


class SqlEventLog:
    """Implements `events.log.EventLog`, which documents the methods. Holds no session between calls."""

    def __init__(
        self,
        database: Database,
        read_progress: ReadProgress,
        queue_positions: QueuePositions,
    ) -> None:
        self._database = database
        self._read_progress = read_progress
        self._queue_positions = queue_positions

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        async with self._database.read() as session:
            return await replay(session, job_id, after_seq, REPLAY_LIMIT)

    async def replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, Sequence[DurableEvent]]:
        async with self._database.read() as session:
            return await replay_many(session, positions, REPLAY_LIMIT)

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        async with self._database.read() as session:
            return await read_log_heads(session, list(job_ids))

    async def progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        if not job_ids:
            return {}
        # Progress is read before the rows, so that no clip that is done in the rows is reported as running.
        found = await self._read_progress(job_ids)
        async with self._database.read() as session:
            tasks_by_job = await list_task_progress(session, list(job_ids))
        return {
            job_id: _merge_progress(found.get(job_id, NO_PROGRESS), of_job) for job_id, of_job in tasks_by_job.items()
        }

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        async with self._database.read() as session:
            return await replay_owner(session, owner_id, after_seq, REPLAY_LIMIT)

    async def owner_heads(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        async with self._database.read() as session:
            return await read_owner_log_heads(session, owner_ids)

    async def snapshot(self, job_id: str) -> JobSnapshot:
        found = await self.snapshots([job_id])
        if job_id not in found:
            raise NotFound(f"There is no job {job_id}.")
        return found[job_id]

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        async with self._database.read() as session:
            jobs = await list_full_jobs(session, job_ids)
        return {snapshot.job_id: snapshot for snapshot in await self._snapshots(jobs)}

    async def owner_snapshot(self, owner_id: str) -> OwnerSnapshot:
        # In one transaction: a client resumes after this number, and must not get what the jobs already reflect.
        async with self._database.read() as session:
            last_seqs = await read_owner_log_heads(session, [owner_id])
            jobs = await list_unfinished(session, owner_id=owner_id, limit=MAX_SNAPSHOTS)
        return OwnerSnapshot(last_seqs.get(owner_id, 0), await self._snapshots(jobs))

    async def _snapshots(self, jobs: Sequence[FullJob]) -> list[JobSnapshot]:
        # Progress is read after the rows, so that it is never behind them. Views skip the progress of older attempts.
        progress = await self._read_progress([job.row.id for job in jobs])
        queue_positions = await self._queue_positions.find(jobs)
        async with self._database.read() as session:
            now = (await session.execute(select(db_now(0)))).scalar_one()
        lives = [views.live_state(progress[job.row.id], queue_positions[job.row.id], now) for job in jobs]
        return [
            JobSnapshot(
                job_id=job.row.id,
                seq=job.row.last_seq,
                at=now,
                job=views.view_job(job.row, job.tasks, job.output, live, request=job.request),
            )
            for job, live in zip(jobs, lives, strict=True)
        ]


def _merge_progress(found: ProgressSnapshot, tasks: Sequence[TaskProgress]) -> ProgressSnapshot:
    """The higher of what was found and what is recorded, of running attempts only."""
    running = {(task.position, task.attempt) for task in tasks if task.state is TaskState.RUNNING}
    clips = {index: progress for index, progress in found.clips.items() if (index, progress.attempt) in running}
    return ProgressSnapshot(found.job_progress, clips).merged_with(recorded_progress(tasks))
