"""Deletes everything that an owner has made. Its key must be refused already, so that nothing is added meanwhile.

Each step is a transaction of its own, and the bytes of a job or upload are deleted before its rows: a purge that was
killed is repeated, and finds by the rows what is left.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import Database, UnitOfWork, metadata
from phoenix.ids import JobId
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.repository import CAN_TRANSITION, IS_UNFINISHED
from phoenix.jobs.retention import BATCH, delete_in_any_state
from phoenix.jobs.tables import ArtifactRow, JobRow, OwnerRow
from phoenix.storage.keys import job_prefix
from phoenix.storage.store import ArtifactStore


@dataclass(frozen=True)
class Holdings:
    """What an owner has: its jobs, how many of them have not ended, its files, and their bytes."""

    jobs: int
    unfinished: int
    files: int
    size_bytes: int


async def count_holdings(session: AsyncSession, owner_id: str) -> Holdings:
    """What the owner has now."""
    jobs = select(func.count(), func.count().filter(IS_UNFINISHED)).where(col(JobRow.owner_id) == owner_id)
    files = select(func.count(), func.coalesce(func.sum(col(ArtifactRow.size_bytes)), 0))
    total, unfinished = (await session.execute(jobs)).one()
    of_owner = files.where(col(ArtifactRow.owner_id) == owner_id, col(ArtifactRow.shares_file).is_(False))
    count, size_bytes = (await session.execute(of_owner)).one()
    return Holdings(total, unfinished, count, int(size_bytes))


async def purge_owner(database: Database, store: ArtifactStore, owner_id: str) -> AsyncGenerator[int]:
    """Cancels and deletes the owner's jobs, deletes its uploads, then all other rows. Harmless if repeated.

    Yields the number of jobs or uploads after each portion. Raises `StoreFailed` if the store does not delete a file.
    """
    async for count in _purge_jobs(database, store, owner_id):
        yield count
    async for count in _purge_uploads(database, store, owner_id):
        yield count
    async with database.write(frees_space=True) as uow:
        await _delete_other_rows(uow, owner_id)


async def _purge_jobs(database: Database, store: ArtifactStore, owner_id: str) -> AsyncGenerator[int]:
    of_owner = col(JobRow.owner_id) == owner_id
    async with database.read() as session:
        unfinished = (
            await session.scalars(select(col(JobRow.id)).where(of_owner, IS_UNFINISHED, *CAN_TRANSITION))
        ).all()
    for job_id in unfinished:
        # Workers stop at their next step. What they still write is refused once the job is gone.
        async with database.write(frees_space=True) as uow:
            await cancel(uow, job_id, owner_id=owner_id)
    while True:
        async with database.read() as session:
            job_ids = (await session.scalars(select(col(JobRow.id)).where(of_owner).limit(BATCH))).all()
        if not job_ids:
            return
        for job_id in job_ids:
            # The folder may have files of lost attempts too, which have no row.
            await store.delete_prefix(job_prefix(JobId(job_id)))
            async with database.write(frees_space=True) as uow:
                await delete_in_any_state(uow, job_id)
        yield len(job_ids)


async def _purge_uploads(database: Database, store: ArtifactStore, owner_id: str) -> AsyncGenerator[int]:
    statement = select(col(ArtifactRow.id), col(ArtifactRow.key)).where(col(ArtifactRow.owner_id) == owner_id)
    while True:
        async with database.read() as session:
            uploads = (await session.execute(statement.limit(BATCH))).all()
        if not uploads:
            return
        for _, key in uploads:
            await store.delete(key)
        async with database.write(frees_space=True) as uow:
            await uow.session.execute(delete(ArtifactRow).where(col(ArtifactRow.id).in_([each for each, _ in uploads])))
        yield len(uploads)


async def _delete_other_rows(uow: UnitOfWork, owner_id: str) -> None:
    # By the column, so that a table which is added later is not forgotten.
    for table in reversed(metadata.sorted_tables):
        if "owner_id" in table.columns:
            await uow.session.execute(delete(table).where(table.columns["owner_id"] == owner_id))
    await uow.session.execute(delete(OwnerRow).where(col(OwnerRow.id) == owner_id))
