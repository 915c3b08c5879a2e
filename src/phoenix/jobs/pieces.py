"""Reads the tasks of many jobs, but only the columns that say how far each job is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.tables import TaskRow

_JOBS_PER_QUERY = 5000
"""Both databases limit a statement to about 32,000 parameters."""


@dataclass(frozen=True)
class TaskPiece:
    kind: TaskKind
    position: int
    state: TaskState
    weight: float
    attempt: int


async def list_pieces(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, Sequence[TaskPiece]]:
    """By job id, in one query for thousands of jobs. A job that is left out does not exist (any more)."""
    found: dict[str, list[TaskPiece]] = {}
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
            found.setdefault(job_id, []).append(TaskPiece(kind, position, state, weight, attempt))
    return found
