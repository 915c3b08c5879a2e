"""A worker's heartbeat: extends all its leases in one statement, and learns what it must stop."""

from collections.abc import Mapping

from sqlalchemy import select, update
from sqlmodel import col

from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.tables import TaskRow


async def renew_leases(
    uow: UnitOfWork, *, worker_id: str, task_ids: list[str], lease_s: float
) -> Mapping[tuple[str, int], str | None]:
    """Extends the leases of those of these tasks that the worker still holds.

    Returns (task id, attempt) of each to its reason to stop, or None. An attempt that is missing was lost: whatever
    it does from now on is void.
    """
    held = (
        col(TaskRow.lease_owner) == worker_id,
        col(TaskRow.state) == TaskState.RUNNING,
        col(TaskRow.id).in_(task_ids),
    )
    # Locked in order of id, as a flush does: a cancel that stops several of these tasks must not deadlock with this.
    in_order = select(col(TaskRow.id)).where(*held).order_by(col(TaskRow.id)).with_for_update()
    statement = (
        update(TaskRow)
        .where(*held, col(TaskRow.id).in_(in_order))
        .values(lease_until=db_now(lease_s))
        .returning(col(TaskRow.id), col(TaskRow.attempt), col(TaskRow.stop_reason))
        .execution_options(synchronize_session=False)
    )
    rows = await uow.session.execute(statement)
    return {(task_id, attempt): stop_reason for task_id, attempt, stop_reason in rows}
