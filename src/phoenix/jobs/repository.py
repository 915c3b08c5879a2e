"""Finds jobs: one with its tasks and output, or a page of them, newest first."""

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, get_args

from sqlalchemy import Row, Select, bindparam, exists, func, or_, select, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract import ArtifactKind, JobKind, JobState, Priority, ResolvedRequest
from phoenix.db import Database, detached, table_of
from phoenix.errors import FieldError, MalformedRequest, NewerVersionError, NotFound
from phoenix.jobs.lifecycle import WAITING_STAGES, TaskKind, TaskState
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow

_ENDS = sorted(state for state in JobState if state.is_terminal)

HAS_ENDED = col(JobRow.state).in_(_ENDS)
_IS_OPEN = col(JobRow.state).in_(sorted(state for state in JobState if not state.is_terminal))

# Ranges can use the index. NOT IN would read every job in the table.
IS_UNFINISHED = or_(
    col(JobRow.state) < _ENDS[0],
    *((col(JobRow.state) > end) & (col(JobRow.state) < next_end) for end, next_end in pairwise(_ENDS)),
    col(JobRow.state) > _ENDS[-1],
)
"""Whether a job has not ended. A state that only a newer version knows counts as unfinished."""


async def get_job(session: AsyncSession, job_id: str, *, owner_id: str) -> JobRow:
    """The job of this owner. Raises `NotFound` also for another owner's job, so as not to reveal that it exists."""
    job = await session.get(JobRow, job_id)
    if job is None or job.owner_id != owner_id:
        raise NotFound(f"There is no job {job_id}.")
    return job


async def fetch_owner_id(database: Database, job_id: str) -> str:
    """Id of the job's owner. Raises `NotFound`."""
    found = await database.fetch(select(col(JobRow.owner_id)).where(col(JobRow.id) == job_id))
    if not found:
        raise NotFound(f"There is no job {job_id}.")
    return found[0].owner_id


async def find_job_locked(session: AsyncSession, job_id: str) -> JobRow | None:
    """The job with its row locked (PostgreSQL; on SQLite the transaction holds the only write lock)."""
    statement = select(JobRow).where(col(JobRow.id) == job_id).with_for_update()
    return (await session.scalars(statement.execution_options(populate_existing=True))).one_or_none()


async def get_job_locked(session: AsyncSession, job_id: str, *, owner_id: str) -> JobRow:
    """Like `find_job_locked`, for this owner's job. Raises `NotFound`."""
    job = await find_job_locked(session, job_id)
    if job is None or job.owner_id != owner_id:
        raise NotFound(f"There is no job {job_id}.")
    return job


async def lock_with_draft(session: AsyncSession, job_id: str, *, owner_id: str) -> tuple[JobRow, JobRow | None]:
    """Like `get_job_locked`, with the job that renders its draft, which is locked first, as when the draft ends.

    The draft is None for a job without one, and if it was deleted.
    """
    draft_id = (await get_job(session, job_id, owner_id=owner_id)).draft_job_id
    draft = await find_job_locked(session, draft_id) if draft_id else None
    return await get_job_locked(session, job_id, owner_id=owner_id), draft


async def list_tasks(session: AsyncSession, job_id: str) -> Sequence[TaskRow]:
    """All tasks of a job, the clips first and in order."""
    statement = select(TaskRow).where(col(TaskRow.job_id) == job_id).order_by(col(TaskRow.position))
    return (await session.scalars(statement.execution_options(populate_existing=True))).all()


class TaskSummary(NamedTuple):
    """The fields of a task that other tasks of its job depend on."""

    id: str
    kind: TaskKind
    position: int
    state: TaskState
    attempt: int
    weight: float
    prerequisites: Sequence[int]
    progress: Mapping[str, Any] | None
    artifact_id: str | None


async def list_task_summaries(session: AsyncSession, job_id: str) -> Sequence[TaskSummary]:
    """Like `list_tasks`, for a fraction of its price. Changes of the session must have been flushed."""
    columns = [getattr(TaskRow, name) for name in TaskSummary._fields]
    statement = select(*columns).where(col(TaskRow.job_id) == job_id).order_by(col(TaskRow.position))
    return [TaskSummary(*row) for row in await session.execute(statement)]


async def get_artifact(session: AsyncSession, artifact_id: str, *, owner_id: str) -> ArtifactRow:
    """The artifact of this owner. Raises `NotFound` also for another owner's artifact."""
    artifact = await session.get(ArtifactRow, artifact_id)
    if artifact is None or artifact.owner_id != owner_id:
        raise NotFound(f"There is no artifact {artifact_id}.")
    return artifact


def is_from_newer_version(task: type[TaskRow]) -> ColumnElement[bool]:
    """Whether only a newer version can read this row of `tasks`, or of an alias of it."""
    return col(task.kind).not_in(list(TaskKind)) | col(task.state).not_in(list(TaskState))


_task = aliased(TaskRow)
_KNOWN = (
    col(JobRow.state).in_(list(JobState)),
    col(JobRow.ending).is_(None) | col(JobRow.ending).in_(list(JobState)),
    col(JobRow.kind).in_(get_args(JobKind)),
)

# One row that only a newer version can read would make all rows of its query unreadable.
IS_READABLE = (*_KNOWN, col(JobRow.priority).in_(get_args(Priority)))
"""Whether this version can show a job, judged by the job's row alone."""

CAN_TRANSITION = (*_KNOWN, ~exists().where(col(_task.job_id) == col(JobRow.id), is_from_newer_version(_task)))
"""Whether this version can advance or end a job: it must know the states of all tasks, but not the priority."""


@dataclass(frozen=True)
class FullJob:
    """A job with its tasks in order and its output, if it has one."""

    row: JobRow
    tasks: Sequence[TaskRow]
    output: ArtifactRow | None
    resolved: ResolvedRequest | None = None
    """The request, if the job was made from it just now."""

    @cached_property
    def request(self) -> ResolvedRequest:
        """The resolved request, parsed once. Raises `NewerVersionError`."""
        return self.resolved or self.row.parse_request()

    @property
    def was_claimed(self) -> bool:
        """Whether a worker has claimed a part of the job at some time. Before that, there is no progress."""
        return any(task.attempt for task in self.tasks)


@dataclass(frozen=True)
class JobFilter:
    """Conditions on the jobs of a page; None means any."""

    state: JobState | None = None
    kind: JobKind | None = None
    model: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    states: Collection[JobState] | None = None
    """Several states, one of which a job has."""


@dataclass(frozen=True)
class Page:
    """Jobs, and the cursor of the next page; None on the last page."""

    jobs: Sequence[FullJob]
    next_cursor: str | None


async def get_full_job(session: AsyncSession, job_id: str, *, owner_id: str) -> FullJob:
    """The job with its tasks and output. Raises `NotFound` for an unknown job and for another owner's job."""
    return await _load_full_job(session, await get_job(session, job_id, owner_id=owner_id))


_JOBS, _TASKS, _ARTIFACTS = table_of(JobRow), table_of(TaskRow), table_of(ArtifactRow)
_JOB_FROM = len(_TASKS.columns)
_OUTPUT_FROM = _JOB_FROM + len(_JOBS.columns)
# A row for each task. Only the row of position 0 has the job's own columns: the request of a long reel is large.
_FULL_JOBS = (
    select(*_TASKS.columns, *_JOBS.columns, *_ARTIFACTS.columns)
    .select_from(_TASKS)
    .outerjoin(_JOBS, (_JOBS.c.id == _TASKS.c.job_id) & (_TASKS.c.position == 0))
    .outerjoin(_ARTIFACTS, _ARTIFACTS.c.id == _JOBS.c.output_artifact_id)
    .order_by(_TASKS.c.job_id, _TASKS.c.position)
)
_FULL_JOB = _FULL_JOBS.where(_TASKS.c.job_id == bindparam("job_id"))


async def fetch_full_job(database: Database, job_id: str, *, owner_id: str) -> FullJob:
    """Like `get_full_job`, in one statement. Its rows are read only."""
    jobs = _to_full_jobs(await database.fetch(_FULL_JOB, {"job_id": job_id}))
    if not jobs or jobs[0].row.owner_id != owner_id:
        raise NotFound(f"There is no job {job_id}.")
    return jobs[0]


def _to_full_jobs(rows: Sequence[Row[Any]]) -> list[FullJob]:
    jobs: list[FullJob] = []
    tasks: list[TaskRow] = []
    for values in rows:
        task = detached(TaskRow, values[:_JOB_FROM])
        # The positions of segments are negative, so the first task of a job need not be the one at 0.
        if tasks and tasks[-1].job_id != task.job_id:
            tasks = []
        if task.position == 0:
            output = detached(ArtifactRow, values[_OUTPUT_FROM:]) if values[_OUTPUT_FROM] is not None else None
            jobs.append(FullJob(detached(JobRow, values[_JOB_FROM:_OUTPUT_FROM]), tasks, output))
        tasks.append(task)
    return jobs


async def list_full_jobs(session: AsyncSession, job_ids: Collection[str]) -> Sequence[FullJob]:
    """Jobs of any owner, in no order. Unknown ids are left out. The caller checks who owns the jobs."""
    rows = (await session.scalars(select(JobRow).where(col(JobRow.id).in_(job_ids)))).all()
    return await _load_full_jobs(session, rows)


async def list_unfinished(session: AsyncSession, *, owner_id: str, limit: int) -> Sequence[FullJob]:
    """The newest `limit` unfinished jobs of the owner, oldest first."""
    statement = select(JobRow).where(col(JobRow.owner_id) == owner_id, _IS_OPEN, *IS_READABLE)
    rows = (await session.scalars(statement.order_by(col(JobRow.id).desc()).limit(limit))).all()
    return await _load_readable(session, rows[::-1])


async def list_waiting(
    session: AsyncSession, *, job_ids: Sequence[str], owner_ids: Sequence[str], limit: int, also: Collection[str] = ()
) -> Sequence[FullJob]:
    """The first `limit` unfinished jobs with these ids or of these owners of which nothing advances, by arrival.

    Unfinished jobs with an id in `also` are included even if a part of them advances.
    """
    named = col(JobRow.id).in_(job_ids) | col(JobRow.owner_id).in_(owner_ids)
    stage = col(_task.stage)
    is_working = (col(_task.kind) != TaskKind.RENDER) | stage.is_(None) | stage.not_in(WAITING_STAGES)
    is_running = (col(_task.state) == TaskState.RUNNING) & (col(_task.kind) != TaskKind.SEGMENT)
    advances = exists().where(col(_task.job_id) == col(JobRow.id), is_running, is_working)
    is_waiting = (named & ~advances) | col(JobRow.id).in_(also)
    statement = select(JobRow).where(_IS_OPEN, is_waiting, *IS_READABLE)
    rows = (await session.scalars(statement.order_by(col(JobRow.queued_at)).limit(limit))).all()
    return await _load_readable(session, rows)


async def _load_full_job(session: AsyncSession, job: JobRow) -> FullJob:
    output = await session.get(ArtifactRow, job.output_artifact_id) if job.output_artifact_id else None
    return FullJob(job, await list_tasks(session, job.id), output)


def select_page(
    wanted: JobFilter, *, owner_id: str | None, limit: int, cursor: str | None, oldest_first: bool = False
) -> Select[str]:
    """Selects the ids of one page, and the first id of the next one if there is one."""
    job_id = col(JobRow.id)
    statement = select(job_id).where(*job_conditions(wanted))
    if owner_id is not None:
        statement = statement.where(col(JobRow.owner_id) == owner_id)
    if cursor is not None:
        last = decode_cursor(cursor)
        statement = statement.where(job_id > last if oldest_first else job_id < last)
    return statement.order_by(job_id if oldest_first else job_id.desc()).limit(limit + 1)


async def list_jobs(
    database: Database,
    wanted: JobFilter,
    *,
    owner_id: str | None,
    limit: int,
    cursor: str | None,
    oldest_first: bool = False,
) -> Page:
    """One page, newest first. Stable while jobs arrive: the cursor is the last id seen, and ids sort by time.

    Without `owner_id`, jobs of all owners. The rows are read only.
    """
    statement = select_page(wanted, owner_id=owner_id, limit=limit, cursor=cursor, oldest_first=oldest_first)
    try:
        found = _to_full_jobs(await database.fetch(_FULL_JOBS.where(_TASKS.c.job_id.in_(statement))))
    except NewerVersionError:
        return await _list_readable(database, statement, limit)
    jobs = found if oldest_first else found[::-1]
    return Page(jobs[:limit], encode_cursor(jobs[limit - 1].row.id) if len(jobs) > limit else None)


async def _list_readable(database: Database, statement: Select[str], limit: int) -> Page:
    """Like `list_jobs`, but leaves out jobs whose tasks or output only a newer version can read."""
    async with database.read() as session:
        ids = (await session.scalars(statement)).all()
        page = (await session.scalars(select(JobRow).where(col(JobRow.id).in_(ids[:limit])))).all()
        in_order = {row.id: row for row in page}
        jobs = await _load_readable(session, [in_order[job_id] for job_id in ids[:limit]])
    return Page(jobs, encode_cursor(ids[limit - 1]) if len(ids) > limit else None)


def job_conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    """The conditions on the rows of `jobs`, also that this version can show the job."""
    conditions: list[ColumnElement[bool]] = list(IS_READABLE)
    if wanted.state is not None:
        conditions.append(col(JobRow.state) == wanted.state)
    if wanted.states is not None:
        conditions.append(col(JobRow.state).in_(sorted(wanted.states)))
    if wanted.kind is not None:
        conditions.append(col(JobRow.kind) == wanted.kind)
    if wanted.model is not None:
        conditions.append(col(JobRow.model) == wanted.model)
    if wanted.created_after is not None:
        conditions.append(col(JobRow.created_at) > wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(col(JobRow.created_at) < wanted.created_before)
    return conditions


_MAX_COUNTED = 10_000


async def count_jobs(database: Database, wanted: JobFilter, *, owner_id: str | None) -> int:
    """How many jobs of the owner, or of all owners, a list would have; `_MAX_COUNTED` at most."""
    statement = select(col(JobRow.id)).where(*job_conditions(wanted))
    if owner_id is not None:
        statement = statement.where(col(JobRow.owner_id) == owner_id)
    ((count,),) = await database.fetch(select(func.count()).select_from(statement.limit(_MAX_COUNTED).subquery()))
    return count


async def fetch_heads(database: Database, job_ids: Sequence[str]) -> Mapping[str, tuple[str, JobState]]:
    """Owner and state of the jobs by id. Leaves out jobs that do not exist, or that only a newer version can read."""
    statement = select(col(JobRow.id), col(JobRow.owner_id), col(JobRow.state))
    found = await database.fetch(statement.where(col(JobRow.id).in_(job_ids), *IS_READABLE))
    return {row.id: (row.owner_id, row.state) for row in found}


async def fetch_full_jobs(database: Database, job_ids: Sequence[str]) -> list[FullJob]:
    """The jobs with these ids, in this order. Leaves out jobs that were deleted, or that only a newer version can read.

    The rows are read only. The caller checks who owns the jobs.
    """
    if not job_ids:
        return []
    try:
        found = _to_full_jobs(await database.fetch(_FULL_JOBS.where(_TASKS.c.job_id.in_(job_ids))))
    except NewerVersionError:
        async with database.read() as session:
            rows = (await session.scalars(select(JobRow).where(col(JobRow.id).in_(job_ids), *IS_READABLE))).all()
            found = await _load_readable(session, rows)
    by_id = {job.row.id: job for job in found}
    return [by_id[job_id] for job_id in job_ids if job_id in by_id]


async def _load_readable(session: AsyncSession, rows: Sequence[JobRow]) -> list[FullJob]:
    """Like `_load_full_jobs`, but leaves out jobs whose tasks or output only a newer version can read."""
    try:
        return await _load_full_jobs(session, rows)
    except NewerVersionError:
        newer = await _find_from_newer_version(session, [row.id for row in rows])
        return await _load_full_jobs(session, [row for row in rows if row.id not in newer])


async def _find_from_newer_version(session: AsyncSession, job_ids: Sequence[str]) -> frozenset[str]:
    of_tasks = select(col(TaskRow.job_id)).where(col(TaskRow.job_id).in_(job_ids), is_from_newer_version(TaskRow))
    of_outputs = (
        select(col(JobRow.id))
        .join(ArtifactRow, col(ArtifactRow.id) == col(JobRow.output_artifact_id))
        .where(col(JobRow.id).in_(job_ids), col(ArtifactRow.kind).not_in(list(ArtifactKind)))
    )
    return frozenset(await session.scalars(union(of_tasks, of_outputs)))


async def _load_full_jobs(session: AsyncSession, rows: Sequence[JobRow]) -> list[FullJob]:
    """Fetches the tasks and outputs of a whole page in two queries."""
    tasks: dict[str, list[TaskRow]] = {row.id: [] for row in rows}
    task_query = select(TaskRow).where(col(TaskRow.job_id).in_(tasks)).order_by(col(TaskRow.position))
    for task in await session.scalars(task_query):
        tasks[task.job_id].append(task)
    output_ids = [row.output_artifact_id for row in rows if row.output_artifact_id]
    output_query = select(ArtifactRow).where(col(ArtifactRow.id).in_(output_ids))
    outputs = {output.id: output for output in await session.scalars(output_query)}
    return [FullJob(row, tasks[row.id], outputs.get(row.output_artifact_id or "")) for row in rows]


def encode_cursor(last_id: str) -> str:
    """The cursor of the page after this job or artifact, opaque to clients."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, prefix: str = "job_") -> str:
    """The id of a cursor. Raises `MalformedRequest` for a text that `encode_cursor` did not make of such an id."""
    try:
        last_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        last_id = ""
    # PostgreSQL takes no NUL in a query.
    if not last_id.startswith(prefix) or "\0" in last_id:
        field_error = FieldError("/query/cursor", "Use the next_cursor of an earlier page, unchanged.")
        raise MalformedRequest("The cursor is not one of ours.", field_errors=[field_error])
    return last_id
