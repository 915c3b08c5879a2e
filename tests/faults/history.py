"""What a run has left behind: the rows of the database and the files of the store. Collects; judges nothing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import ColumnElement, select, true
from sqlmodel import SQLModel, col

from phoenix.db.unit_of_work import Database
from phoenix.jobs.tables import ArtifactRow, AttemptRow, EventRow, JobRow, TaskRow
from phoenix.jobs.webhooks.tables import WebhookDeliveryRow

Row = TypeVar("Row", bound=SQLModel)


@dataclass(frozen=True)
class StoredFile:
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class History:
    """`accepted`: ids of the jobs that were answered with 202 and not deleted since. `files`: None if not looked at."""

    jobs: Sequence[JobRow]
    tasks: Sequence[TaskRow] = ()
    attempts: Sequence[AttemptRow] = ()
    events: Sequence[EventRow] = ()
    artifacts: Sequence[ArtifactRow] = ()
    deliveries: Sequence[WebhookDeliveryRow] = ()
    accepted: frozenset[str] = field(default_factory=frozenset[str])
    files: Mapping[str, StoredFile] | None = None


async def read_history(
    database: Database, accepted: frozenset[str], store_folder: Path | None = None, *, job_id: str | None = None
) -> History:
    """Everything, or everything of one job, as of one moment."""
    async with database.read() as session:
        if database.dialect == "postgresql":
            # By default each statement sees what was committed before it, and the rows would not fit together.
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})

        async def rows(table: type[Row], is_of_job: ColumnElement[bool]) -> Sequence[Row]:
            return (await session.scalars(select(table).where(is_of_job if job_id else true()))).all()

        tasks_of_job = select(TaskRow.id).where(col(TaskRow.job_id) == job_id)
        return History(
            jobs=await rows(JobRow, col(JobRow.id) == job_id),
            tasks=await rows(TaskRow, col(TaskRow.job_id) == job_id),
            attempts=await rows(AttemptRow, col(AttemptRow.task_id).in_(tasks_of_job)),
            events=await rows(EventRow, col(EventRow.job_id) == job_id),
            artifacts=await rows(ArtifactRow, col(ArtifactRow.job_id) == job_id),
            deliveries=await rows(WebhookDeliveryRow, col(WebhookDeliveryRow.job_id) == job_id),
            accepted=accepted,
            files=read_files(store_folder) if store_folder else None,
        )


async def have_all_ended(database: Database) -> bool:
    """Whether no job has anything left to happen to it."""
    async with database.read() as session:
        return all(state.is_terminal for state in await session.scalars(select(JobRow.state).distinct()))


def read_files(folder: Path) -> Mapping[str, StoredFile]:
    """By key, which is the path within the folder."""
    return {
        path.relative_to(folder).as_posix(): StoredFile(
            path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in folder.rglob("*")
        if path.is_file()
    }
