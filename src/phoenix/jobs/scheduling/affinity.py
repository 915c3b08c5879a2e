"""Model affinity: whether a worker leaves a clip whose turn has come to one that holds its model. Pure.

Loading a model takes as long as rendering a clip or two, so a short wait is worth it. It is bounded.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.workers import list_live
from phoenix.jobs.tables import JobRow, TaskRow


@dataclass(frozen=True)
class Candidate:
    """Another live worker that could take the clip."""

    models: Collection[str]
    """Held in memory now."""
    free_slots: int


@dataclass(frozen=True)
class Turn:
    """A clip whose doorbell a worker is about to answer."""

    model: str
    passed_for_s: float | None
    """Seconds since a worker first left it to others; None if none did."""
    others_next: Collection[str]
    """Models of the other clips whose doorbells are in Redis."""


def should_leave(turn: Turn, held: Collection[str], others: Collection[Candidate], *, wait_s: float) -> bool:
    """`held`: models in this worker's memory. After `wait_s` in which the clip was left to others, anyone takes it.

    It is left to an idle holder of its model. It is left to a busy one only if another clip waits for a model that
    this worker holds, so that no worker stands idle.
    """
    if turn.model in held or (turn.passed_for_s is not None and turn.passed_for_s >= wait_s):
        return False
    holders = [other for other in others if turn.model in other.models]
    if any(holder.free_slots > 0 for holder in holders):
        return wait_s > 0
    return bool(holders) and wait_s > 0 and any(model in held for model in turn.others_next)


_QUEUE = "gpu"
_MOST_LOOKED_AT = 100
"""Other doorbells: enough to find one for a model that the worker holds."""


async def leave_to_others(
    uow: UnitOfWork,
    task_id: str,
    dispatch: int,
    *,
    worker_id: str,
    held: Collection[str],
    wait_s: float,
    worker_timeout_s: float,
) -> bool:
    """Whether this worker, which holds the models `held`, should leave the task for now; if so, records since when."""
    turn = await _find_turn(uow.session, task_id, dispatch, await uow.now(), held=held)
    if turn is None:
        return False
    others = await _list_candidates(uow.session, besides=worker_id, worker_timeout_s=worker_timeout_s)
    if not should_leave(turn, held, others, wait_s=wait_s):
        return False
    first = update(TaskRow).where(
        col(TaskRow.id) == task_id, col(TaskRow.dispatch) == dispatch, col(TaskRow.passed_at).is_(None)
    )
    await uow.session.execute(first.values(passed_at=db_now(0)))
    return True


async def _find_turn(
    session: AsyncSession, task_id: str, dispatch: int, now: datetime, *, held: Collection[str]
) -> Turn | None:
    """None if there is nothing to decide: the doorbell is stale, or this worker can serve the task as well as any."""
    statement = (
        select(col(JobRow.model), col(TaskRow.passed_at))
        .join(TaskRow, col(TaskRow.job_id) == col(JobRow.id))
        .where(
            col(TaskRow.id) == task_id,
            col(TaskRow.dispatch) == dispatch,
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == _QUEUE,
        )
    )
    found = (await session.execute(statement)).one_or_none()
    model, passed_at = found if found is not None else (None, None)
    if model is None or model in held:
        return None
    passed_for_s = None if passed_at is None else (now - passed_at).total_seconds()
    return Turn(model, passed_for_s, await _list_rung_models(session, besides=task_id))


async def _list_rung_models(session: AsyncSession, *, besides: str) -> frozenset[str]:
    statement = (
        select(col(JobRow.model))
        .join(TaskRow, col(TaskRow.job_id) == col(JobRow.id))
        .where(
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == _QUEUE,
            col(TaskRow.rung_at).is_not(None),
            col(TaskRow.id) != besides,
        )
        .limit(_MOST_LOOKED_AT)
    )
    return frozenset(model for model in await session.scalars(statement) if model)


async def _list_candidates(session: AsyncSession, *, besides: str, worker_timeout_s: float) -> list[Candidate]:
    statement = select(col(TaskRow.lease_owner)).where(
        col(TaskRow.state) == TaskState.RUNNING, col(TaskRow.queue) == _QUEUE
    )
    busy = Counter(await session.scalars(statement))
    return [
        Candidate(row.models, row.slots[_QUEUE] - busy[row.id])
        for row in await list_live(session, worker_timeout_s=worker_timeout_s)
        # A draining worker reports no slots.
        if row.id != besides and row.slots.get(_QUEUE, 0) > 0
    ]
