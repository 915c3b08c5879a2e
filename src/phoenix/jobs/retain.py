"""Deleting a finished job and its files. Rows go first, bytes after the commit: never a row without its bytes."""

from sqlalchemy import delete, select
from sqlmodel import col

from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import Conflict
from phoenix.jobs.announcements import FilesOrphaned
from phoenix.jobs.rows import get_job_locked
from phoenix.jobs.tables import ArtifactRow, AttemptRow, EventRow, JobRow, TaskRow
from phoenix.jobs.webhook_tables import WebhookDeliveryRow


async def delete_job(uow: UnitOfWork, job_id: str, *, owner_id: str) -> None:
    """Raises `Conflict` while the job is not finished."""
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    if not job.state.is_terminal:
        raise Conflict(f"The job is {job.state}; cancel it first.")
    keys = await uow.session.scalars(select(col(ArtifactRow.key)).where(col(ArtifactRow.job_id) == job_id))
    uow.announce(FilesOrphaned(tuple(keys)))
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
