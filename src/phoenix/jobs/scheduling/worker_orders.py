"""Orders of administrators to workers: claim nothing, claim again, drop a model from memory.

A worker reads its orders with each heartbeat. A notification makes the heartbeat come at once.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import UnitOfWork, db_now
from phoenix.errors import NotFound
from phoenix.jobs.post_commit import TasksReady, WorkerOrdered
from phoenix.jobs.tables import WorkerRow


async def drain_worker(uow: UnitOfWork, worker_id: str) -> None:
    """Lets the worker claim nothing more until it is resumed. Raises `NotFound` unless it is live."""
    row = await _get_live_locked(uow, worker_id)
    row.drained_at = row.drained_at or await uow.now()
    # At once, so that nothing more is dispatched for it.
    row.slots = dict.fromkeys(row.slots, 0)
    uow.publish_after_commit(WorkerOrdered(worker_id), TasksReady())


async def resume_worker(uow: UnitOfWork, worker_id: str) -> None:
    """Lets the worker claim again. Harmless if it may already. Raises `NotFound` unless it is live."""
    row = await _get_live_locked(uow, worker_id)
    row.drained_at = None
    # Its next heartbeat reports its slots.
    uow.publish_after_commit(WorkerOrdered(worker_id), TasksReady())


async def unload_model(uow: UnitOfWork, model_id: str, *, worker_id: str | None = None) -> Sequence[str]:
    """Lets the workers that have the model in memory, or one of them, drop it once no clip needs it.

    Returns the ids of these workers. Raises `NotFound` for a worker that is not live.
    """
    if worker_id is not None:
        rows = [await _get_live_locked(uow, worker_id)]
    else:
        live = select(WorkerRow).where(col(WorkerRow.expires_at) > db_now()).order_by(col(WorkerRow.id))
        rows = (await uow.session.scalars(live.with_for_update())).all()
    holders = [row for row in rows if model_id in row.models]
    for row in holders:
        # A new list: the session does not see changes inside a JSON column.
        row.unload = sorted({*row.unload, model_id})
        uow.publish_after_commit(WorkerOrdered(row.id))
    return [row.id for row in holders]


async def may_claim(session: AsyncSession, worker_id: str) -> bool:
    """Whether the worker may claim a task. The worker may not know yet that it drains."""
    statement = select(col(WorkerRow.drained_at)).where(col(WorkerRow.id) == worker_id)
    return (await session.scalars(statement)).one_or_none() is None


async def _get_live_locked(uow: UnitOfWork, worker_id: str) -> WorkerRow:
    statement = select(WorkerRow).where(col(WorkerRow.id) == worker_id, col(WorkerRow.expires_at) > db_now())
    row = (await uow.session.scalars(statement.with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no live worker {worker_id}.")
    return row
