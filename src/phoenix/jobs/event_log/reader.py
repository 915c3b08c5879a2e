"""The durable log as streams read it: rows from SQL, and snapshots combined with the latest progress."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.events import DurableEvent, JobSnapshot
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import NotFound
from phoenix.events.log.protocol import REPLAY_LIMIT, LogHead, LogPosition, OwnerSnapshot
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.jobs import views
from phoenix.jobs.event_log import writer
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.progress import job_progress
from phoenix.jobs.repository import FullJob, list_full_jobs, list_unfinished
from phoenix.jobs.scheduling.position import QueuePositions
from phoenix.jobs.tables import TaskRow

_JOBS_PER_QUERY = 5000
"""Both databases limit a statement to about 32,000 parameters."""


@dataclass(frozen=True)
class TaskProgress:
    kind: TaskKind
    position: int
    state: TaskState
    weight: float
    attempt: int


async def list_task_progress(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, Sequence[TaskProgress]]:
    """By job id, in one query for thousands of jobs. A job that is left out does not exist (any more)."""
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
        ).where(named)
        for job_id, kind, position, state, weight, attempt in (await session.execute(statement)).all():
            found.setdefault(job_id, []).append(TaskProgress(kind, position, state, weight, attempt))
    return found


ReadProgress = Callable[[Collection[str]], Awaitable[Mapping[str, ProgressSnapshot]]]

MAX_SNAPSHOTS = 100
"""Unfinished jobs at the start of a stream of all jobs; if there are more, the newest."""


class SqlEventLog:
    """Implements `events.log.EventLog`. Holds no session between calls: a stream lives for an hour."""

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
            return await writer.replay(session, job_id, after_seq, REPLAY_LIMIT)

    async def replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, Sequence[DurableEvent]]:
        async with self._database.read() as session:
            return await writer.replay_many(session, positions, REPLAY_LIMIT)

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        async with self._database.read() as session:
            return await writer.read_log_heads(session, list(job_ids))

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
            return await writer.replay_owner(session, owner_id, after_seq, REPLAY_LIMIT)

    async def owner_heads(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        async with self._database.read() as session:
            return await writer.read_owner_log_heads(session, owner_ids)

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
            last_seqs = await writer.read_owner_log_heads(session, [owner_id])
            jobs = await list_unfinished(session, owner_id=owner_id, limit=MAX_SNAPSHOTS)
        return OwnerSnapshot(last_seqs.get(owner_id, 0), await self._snapshots(jobs))

    async def _snapshots(self, jobs: Sequence[FullJob]) -> list[JobSnapshot]:
        # Progress is read after the rows, so that it is never behind them; that of older attempts is left out.
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
                job=views.view_job(job.row, job.tasks, job.output, live),
            )
            for job, live in zip(jobs, lives, strict=True)
        ]


def _merge_progress(found: ProgressSnapshot, tasks: Sequence[TaskProgress]) -> ProgressSnapshot:
    """Counts what SQL shows as published, and keeps only the progress of running attempts."""
    running = {(task.position, task.attempt) for task in tasks if task.state is TaskState.RUNNING}
    clips = {index: progress for index, progress in found.clips.items() if (index, progress.attempt) in running}
    return ProgressSnapshot(max(found.job_progress, job_progress(tasks)), clips)
