"""Finds jobs: one with its tasks and output, or a page of them, newest first."""

import base64
import binascii
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import get_args

from sqlalchemy import Select, exists, or_, select, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract import ArtifactKind, JobKind, JobState, Priority
from phoenix.errors import FieldError, MalformedRequest, NewerVersionError, NotFound
from phoenix.jobs.lifecycle import WAITING_STAGES, TaskKind, TaskState
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow

_ENDS = sorted(state for state in JobState if state.is_terminal)

HAS_ENDED = col(JobRow.state).in_(_ENDS)

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


async def list_tasks(session: AsyncSession, job_id: str) -> Sequence[TaskRow]:
    """All tasks of a job, the clips first and in order."""
    statement = select(TaskRow).where(col(TaskRow.job_id) == job_id).order_by(col(TaskRow.position))
    return (await session.scalars(statement.execution_options(populate_existing=True))).all()


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


@dataclass(frozen=True)
class JobFilter:
    """Conditions on the jobs of a page; None means any."""

    state: JobState | None = None
    kind: JobKind | None = None
    model: str | None = None
    search_text: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Jobs, and the cursor of the next page; None on the last page."""

    jobs: Sequence[FullJob]
    next_cursor: str | None


async def get_full_job(session: AsyncSession, job_id: str, *, owner_id: str) -> FullJob:
    """The job with its tasks and output. Raises `NotFound` for an unknown job and for another owner's job."""
    return await _load_full_job(session, await get_job(session, job_id, owner_id=owner_id))


async def list_full_jobs(session: AsyncSession, job_ids: Collection[str]) -> Sequence[FullJob]:
    """Jobs of any owner, in no order. Unknown ids are left out. The caller checks who owns the jobs."""
    rows = (await session.scalars(select(JobRow).where(col(JobRow.id).in_(job_ids)))).all()
    return await _load_full_jobs(session, rows)


async def list_unfinished(session: AsyncSession, *, owner_id: str, limit: int) -> Sequence[FullJob]:
    """The newest `limit` unfinished jobs of the owner, oldest first."""
    is_unfinished = col(JobRow.state).in_([JobState.QUEUED, JobState.RUNNING])
    statement = select(JobRow).where(col(JobRow.owner_id) == owner_id, is_unfinished, *IS_READABLE)
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
    is_unfinished = col(JobRow.state).in_([JobState.QUEUED, JobState.RUNNING])
    statement = select(JobRow).where(is_unfinished, is_waiting, *IS_READABLE)
    rows = (await session.scalars(statement.order_by(col(JobRow.queued_at)).limit(limit))).all()
    return await _load_readable(session, rows)


async def _load_full_job(session: AsyncSession, job: JobRow) -> FullJob:
    output = await session.get(ArtifactRow, job.output_artifact_id) if job.output_artifact_id else None
    return FullJob(job, await list_tasks(session, job.id), output)


async def list_jobs(
    session: AsyncSession,
    wanted: JobFilter,
    *,
    owner_id: str,
    limit: int,
    cursor: str | None,
    oldest_first: bool = False,
) -> Page:
    """One page, newest first. Stable while jobs arrive: the cursor is the last id seen, and ids sort by time."""
    statement = _filtered(wanted).where(col(JobRow.owner_id) == owner_id)
    job_id = col(JobRow.id)
    if cursor is not None:
        last = decode_cursor(cursor)
        statement = statement.where(job_id > last if oldest_first else job_id < last)
    rows = (await session.scalars(statement.order_by(job_id if oldest_first else job_id.desc()).limit(limit + 1))).all()
    page = rows[:limit]
    next_cursor = encode_cursor(page[-1].id) if len(rows) > limit else None
    return Page(await _load_readable(session, page), next_cursor)


def _filtered(wanted: JobFilter) -> Select[JobRow]:
    statement = select(JobRow).where(*IS_READABLE)
    if wanted.state is not None:
        statement = statement.where(col(JobRow.state) == wanted.state)
    if wanted.kind is not None:
        statement = statement.where(col(JobRow.kind) == wanted.kind)
    if wanted.model is not None:
        statement = statement.where(col(JobRow.model) == wanted.model)
    if wanted.created_after is not None:
        statement = statement.where(col(JobRow.created_at) > wanted.created_after)
    if wanted.created_before is not None:
        statement = statement.where(col(JobRow.created_at) < wanted.created_before)
    for word in (wanted.search_text or "").lower().split():
        statement = statement.where(col(JobRow.search_text).contains(word, autoescape=True))
    return statement


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
