"""The usage ledger: when workers have worked for each owner, including on jobs that were deleted since."""

from sqlalchemy import delete, func, insert, select, union_all
from sqlalchemy.sql.selectable import Subquery
from sqlmodel import col

from phoenix.db import UnitOfWork, db_now
from phoenix.jobs.tables import AttemptRow, JobRow, TaskRow, UsageRow

RETENTION_S = 24 * 3600
"""The longest period that a limit looks back."""


def usage_spans(queue: str, *, within_s: float) -> Subquery:
    """The attempts that started within the last `within_s`: `owner_id`, `started_at`, and `ended_at` or null."""
    attempts = (
        select(col(JobRow.owner_id), col(AttemptRow.started_at), col(AttemptRow.ended_at))
        .select_from(AttemptRow)
        .join(TaskRow, col(TaskRow.id) == col(AttemptRow.task_id))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, col(AttemptRow.started_at) > db_now(-within_s))
    )
    deleted = select(col(UsageRow.owner_id), col(UsageRow.started_at), col(UsageRow.ended_at)).where(
        col(UsageRow.queue) == queue, col(UsageRow.started_at) > db_now(-within_s)
    )
    return union_all(attempts, deleted).subquery()


async def save_usage(uow: UnitOfWork, job_id: str) -> None:
    """Saves the usage of a job that is about to be deleted: it still counts against the owner's limits."""
    attempts = (
        select(
            col(AttemptRow.task_id),
            col(AttemptRow.number),
            col(JobRow.owner_id),
            col(TaskRow.queue),
            col(AttemptRow.started_at),
            func.coalesce(col(AttemptRow.ended_at), db_now(0)),
        )
        .select_from(AttemptRow)
        .join(TaskRow, col(TaskRow.id) == col(AttemptRow.task_id))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(JobRow.id) == job_id, col(AttemptRow.started_at) > db_now(-RETENTION_S))
    )
    columns = ["task_id", "number", "owner_id", "queue", "started_at", "ended_at"]
    await uow.session.execute(insert(UsageRow).from_select(columns, attempts))


async def delete_old_usage(uow: UnitOfWork) -> None:
    """Deletes usage that is older than every limit looks back."""
    old = delete(UsageRow).where(col(UsageRow.started_at) <= db_now(-RETENTION_S))
    await uow.session.execute(old.execution_options(synchronize_session=False))
