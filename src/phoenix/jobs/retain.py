"""Deletes ended jobs, uploads and their files. Bytes go only after the commit, so that no row is without its bytes."""

from collections.abc import Collection, Sequence

from sqlalchemy import Text, cast, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.artifacts import ArtifactKind
from phoenix.contract.jobs import JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import Conflict, NotFound
from phoenix.jobs.announcements import FilesOrphaned
from phoenix.jobs.rows import get_job_locked
from phoenix.jobs.spent import keep_spent
from phoenix.jobs.tables import ArtifactRow, AttemptRow, EventRow, JobRow, TaskRow
from phoenix.jobs.webhook_tables import WebhookDeliveryRow

BATCH = 100
"""Rows of each kind per step: deleting must not hold up the database's other work."""

_HAS_ENDED = col(JobRow.state).in_([state for state in JobState if state.is_terminal])


async def delete_job(uow: UnitOfWork, job_id: str, *, owner_id: str) -> None:
    """Deletes a finished job and all that belongs to it. Raises `Conflict` while it is not finished, and `NotFound`."""
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    if not job.state.is_terminal:
        raise Conflict(f"The job is {job.state}; cancel it first.")
    keys = await uow.session.scalars(select(col(ArtifactRow.key)).where(col(ArtifactRow.job_id) == job_id))
    uow.announce(FilesOrphaned(tuple(keys)))
    await keep_spent(uow, job_id)
    task_ids = select(col(TaskRow.id)).where(col(TaskRow.job_id) == job_id)
    for statement in (
        delete(AttemptRow).where(col(AttemptRow.task_id).in_(task_ids)),
        delete(TaskRow).where(col(TaskRow.job_id) == job_id),
        delete(EventRow).where(col(EventRow.job_id) == job_id),
        delete(WebhookDeliveryRow).where(col(WebhookDeliveryRow.job_id) == job_id),
        delete(ArtifactRow).where(col(ArtifactRow.job_id) == job_id),
        delete(JobRow).where(col(JobRow.id) == job_id),
    ):
        await uow.session.execute(statement.execution_options(synchronize_session=False))


async def list_old_jobs(session: AsyncSession, *, older_than_s: float) -> Sequence[tuple[str, str]]:
    """(id, owner id) of a batch of jobs that ended longer ago, oldest first."""
    statement = (
        select(col(JobRow.id), col(JobRow.owner_id))
        .where(col(JobRow.finished_at) < db_now(-older_than_s), _HAS_ENDED)
        .order_by(col(JobRow.finished_at))
        .limit(BATCH)
    )
    return (await session.execute(statement)).all()


async def list_surplus_jobs(session: AsyncSession, *, most_per_owner: int) -> Sequence[tuple[str, str]]:
    """(id, owner id) of a batch of ended jobs beyond the newest `most_per_owner` of their owner."""
    newest_first = func.row_number().over(partition_by=col(JobRow.owner_id), order_by=col(JobRow.finished_at).desc())
    ranked = select(col(JobRow.id), newest_first.label("place")).where(_HAS_ENDED).subquery()
    surplus = select(ranked.c.id).where(ranked.c.place > most_per_owner)
    statement = select(col(JobRow.id), col(JobRow.owner_id)).where(col(JobRow.id).in_(surplus)).limit(BATCH)
    return (await session.execute(statement)).all()


async def delete_ended(uow: UnitOfWork, job_id: str, owner_id: str) -> bool:
    """Like `delete_job`, but skips a job that is in use, was retried or was deleted. Returns whether it was deleted."""
    if await _is_used(uow.session, job_id, owner_id):
        return False
    try:
        await delete_job(uow, job_id, owner_id=owner_id)
    except (NotFound, Conflict):
        return False
    return True


async def _is_used(session: AsyncSession, job_id: str, owner_id: str) -> bool:
    """Whether a job under way names a file of this one, which its workers have yet to read."""
    names_it = cast(col(JobRow.request), Text).contains(col(ArtifactRow.id))
    statement = (
        select(col(JobRow.id))
        .join(ArtifactRow, col(ArtifactRow.owner_id) == col(JobRow.owner_id))
        .where(col(JobRow.owner_id) == owner_id, ~_HAS_ENDED, col(ArtifactRow.job_id) == job_id, names_it)
    )
    return (await session.scalars(statement.limit(1))).first() is not None


async def delete_old_uploads(uow: UnitOfWork, *, older_than_s: float) -> int:
    """Deletes a batch of uploads of owners without unfinished jobs, which may yet read them. Returns how many."""
    busy = select(col(JobRow.owner_id)).where(~_HAS_ENDED)
    statement = (
        select(col(ArtifactRow.id), col(ArtifactRow.key))
        .where(
            col(ArtifactRow.kind) == ArtifactKind.UPLOAD,
            col(ArtifactRow.created_at) < db_now(-older_than_s),
            col(ArtifactRow.owner_id).not_in(busy),
        )
        .limit(BATCH)
    )
    old = (await uow.session.execute(statement)).all()
    uow.announce(FilesOrphaned(tuple(key for _, key in old)))
    ids = [artifact_id for artifact_id, _ in old]
    await uow.session.execute(delete(ArtifactRow).where(col(ArtifactRow.id).in_(ids)))
    return len(old)


async def find_known_keys(
    session: AsyncSession, *, upload_ids: Collection[str], job_ids: Collection[str]
) -> frozenset[str]:
    """The keys of these uploads, and of all files of these jobs, that have a row."""
    statement = select(col(ArtifactRow.key)).where(
        col(ArtifactRow.id).in_(upload_ids) | col(ArtifactRow.job_id).in_(job_ids)
    )
    return frozenset(await session.scalars(statement))
