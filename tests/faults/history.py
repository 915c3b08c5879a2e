"""What a run has left behind: the rows of the database and the files of the store. Collects; judges nothing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

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


async def read_history(database: Database, accepted: frozenset[str], store_folder: Path | None = None) -> History:
    """Everything, as of one moment."""
    async with database.read() as session:
        if database.dialect == "postgresql":
            # By default each statement sees what was committed before it, and the rows would not fit together.
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        return History(
            jobs=await _rows(session, JobRow),
            tasks=await _rows(session, TaskRow),
            attempts=await _rows(session, AttemptRow),
            events=await _rows(session, EventRow),
            artifacts=await _rows(session, ArtifactRow),
            deliveries=await _rows(session, WebhookDeliveryRow),
            accepted=accepted,
            files=read_files(store_folder) if store_folder else None,
        )


async def _rows(session: AsyncSession, table: type[Row]) -> Sequence[Row]:
    return (await session.scalars(select(table))).all()


def read_files(folder: Path) -> Mapping[str, StoredFile]:
    """By key, which is the path within the folder."""
    return {
        path.relative_to(folder).as_posix(): StoredFile(
            path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in folder.rglob("*")
        if path.is_file()
    }
