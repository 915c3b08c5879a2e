"""Fetches the rows of one job. `get_` raises `NotFound`; `_locked` also locks the job's row until the commit."""

from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.jobs import JobState
from phoenix.errors import NotFound
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow

_ENDS = sorted(state for state in JobState if state.is_terminal)

HAS_ENDED = col(JobRow.state).in_(_ENDS)

# As ranges, which an index has: NOT IN would read every job that there ever was.
IS_UNFINISHED = or_(
    col(JobRow.state) < _ENDS[0],
    *((col(JobRow.state) > end) & (col(JobRow.state) < next_end) for end, next_end in pairwise(_ENDS)),
    col(JobRow.state) > _ENDS[-1],
)
"""In any other state, one that only a newer version knows included."""


async def get_job(session: AsyncSession, job_id: str, *, owner_id: str) -> JobRow:
    """Raises `NotFound` for another owner's job too, so as not to reveal that it exists."""
    job = await session.get(JobRow, job_id)
    if job is None or job.owner_id != owner_id:
        raise NotFound(f"There is no job {job_id}.")
    return job


async def find_job_locked(session: AsyncSession, job_id: str) -> JobRow | None:
    """The job with its row locked (PostgreSQL; on SQLite the transaction holds the only write lock)."""
    statement = select(JobRow).where(col(JobRow.id) == job_id).with_for_update()
    return (await session.scalars(statement.execution_options(populate_existing=True))).one_or_none()


async def get_job_locked(session: AsyncSession, job_id: str, *, owner_id: str) -> JobRow:
    job = await find_job_locked(session, job_id)
    if job is None or job.owner_id != owner_id:
        raise NotFound(f"There is no job {job_id}.")
    return job


async def list_tasks(session: AsyncSession, job_id: str) -> Sequence[TaskRow]:
    """All tasks of a job, the clips first and in order."""
    statement = select(TaskRow).where(col(TaskRow.job_id) == job_id).order_by(col(TaskRow.position))
    return (await session.scalars(statement.execution_options(populate_existing=True))).all()


async def get_artifact(session: AsyncSession, artifact_id: str, *, owner_id: str) -> ArtifactRow:
    artifact = await session.get(ArtifactRow, artifact_id)
    if artifact is None or artifact.owner_id != owner_id:
        raise NotFound(f"There is no artifact {artifact_id}.")
    return artifact
