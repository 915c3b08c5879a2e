"""Which waiting tasks get a doorbell now. The rest stay in SQL, where their order is decided anew each time."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.order import Waiting, take_turns, within_caps
from phoenix.jobs.pace import NOTHING_LEARNED, Paces, read_paces
from phoenix.jobs.tables import AttemptRow, JobRow, TaskRow, WorkerRow

MAX_LOOKED_AT = 5000
"""Waiting tasks that one pass orders; the oldest are looked at first, so those beyond come later."""

FAIRNESS_WINDOW_S = 900
"""Service longer ago than this is forgotten, so that a key that was busy last night is not made to wait today."""

TYPICAL_COST_S = 60.0
"""Assumed for a task whose like has not been served within the window."""


@dataclass(frozen=True)
class RungTask:
    """A doorbell that was put into Redis and not answered yet."""

    task_id: str
    dispatch: int
    rung_at: datetime


Known = TypeVar("Known", Waiting, RungTask)


async def choose_next(
    session: AsyncSession, queue: str, *, feed_ahead: float, worker_timeout_s: float, most_per_owner: int = 0
) -> list[Waiting]:
    """The tasks to ring now, in order: as many as keep `feed_ahead` doorbells per slot of the live workers.

    No owner has more than `most_per_owner` of them running and rung at a time, if that is not 0.
    """
    slots = await count_slots(session, queue, worker_timeout_s=worker_timeout_s)
    room = math.ceil(feed_ahead * slots) - await _count_rung(session, queue)
    if room <= 0:
        return []
    served = await served_s(session, queue)
    in_hand = await count_in_hand(session, queue) if most_per_owner else {}
    at_cap = [owner_id for owner_id, count in in_hand.items() if count >= most_per_owner]
    # Left out already here, lest they fill what one pass looks at.
    waiting = await list_waiting(session, queue, await read_paces(session), except_owners=at_cap)
    return list(islice(within_caps(take_turns(waiting, served), in_hand, most=most_per_owner), room))


async def count_in_hand(session: AsyncSession, queue: str) -> dict[str, int]:
    """How many tasks of this queue each owner has running, or rung and about to."""
    is_rung = (col(TaskRow.state) == TaskState.READY) & col(TaskRow.rung_at).is_not(None)
    statement = (
        select(col(JobRow.owner_id), func.count())
        .select_from(TaskRow)
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, (col(TaskRow.state) == TaskState.RUNNING) | is_rung)
        .group_by(col(JobRow.owner_id))
    )
    return dict((await session.execute(statement)).all())


async def mark_rung(uow: UnitOfWork, tasks: Sequence[Waiting]) -> None:
    """Notes that the doorbells are in Redis. One that was answered in the meantime is left alone."""
    for task in in_lock_order(tasks):
        statement = (
            update(TaskRow)
            .where(
                col(TaskRow.id) == task.task_id,
                col(TaskRow.dispatch) == task.dispatch,
                col(TaskRow.state) == TaskState.READY,
            )
            .values(rung_at=await uow.now())
        )
        await uow.session.execute(statement)


async def list_rung(session: AsyncSession, queue: str, *, older_than_s: float) -> list[RungTask]:
    """Doorbells that have waited for an answer so long that they may have been lost."""
    statement = select(col(TaskRow.id), col(TaskRow.dispatch), col(TaskRow.rung_at)).where(
        col(TaskRow.state) == TaskState.READY,
        col(TaskRow.queue) == queue,
        col(TaskRow.rung_at) <= db_now(-older_than_s),
    )
    rows = await session.execute(statement)
    return [RungTask(task_id, dispatch, rung_at) for task_id, dispatch, rung_at in rows if rung_at]


async def unring(uow: UnitOfWork, tasks: Sequence[RungTask]) -> None:
    """Puts lost doorbells back in line. The dispatch stays: if the old one turns up after all, it is as good."""
    for task in in_lock_order(tasks):
        statement = (
            update(TaskRow)
            .where(col(TaskRow.id) == task.task_id, col(TaskRow.rung_at) == task.rung_at)
            .values(rung_at=None)
        )
        await uow.session.execute(statement)


def in_lock_order(tasks: Iterable[Known]) -> list[Known]:
    """Of several tasks in one transaction the smallest id comes first, as in a flush: no two wait for each other."""
    return sorted(tasks, key=lambda task: task.task_id)


async def list_waiting(
    session: AsyncSession, queue: str, paces: Paces = NOTHING_LEARNED, *, except_owners: Collection[str] = ()
) -> list[Waiting]:
    """Tasks that could start now and have no doorbell yet, oldest first."""
    statement = (
        select(
            col(TaskRow.id),
            col(TaskRow.dispatch),
            col(JobRow.owner_id),
            col(TaskRow.job_id),
            col(TaskRow.position),
            col(JobRow.priority),
            col(JobRow.queued_at),
            col(JobRow.model),
            col(TaskRow.weight),
        )
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == queue,
            col(TaskRow.rung_at).is_(None),
            col(TaskRow.ready_at) <= db_now(0),
            col(JobRow.owner_id).not_in(except_owners),
        )
        .order_by(col(JobRow.queued_at), col(TaskRow.position))
        .limit(MAX_LOOKED_AT)
    )
    rows = await session.execute(statement)
    return [_waiting(Waiting(*row[:7], cost_s=TYPICAL_COST_S), paces.task_s(*row[7:])) for row in rows]


def _waiting(task: Waiting, learned_s: float | None) -> Waiting:
    return task if learned_s is None else replace(task, cost_s=learned_s, is_cost_known=True)


async def count_slots(session: AsyncSession, queue: str, *, worker_timeout_s: float) -> int:
    """Tasks of this queue that the live workers can run at once."""
    statement = select(col(WorkerRow.queues), col(WorkerRow.slots)).where(
        col(WorkerRow.seen_at) > db_now(-worker_timeout_s)
    )
    return sum(slots for queues, slots in (await session.execute(statement)) if queue in queues)


async def _count_rung(session: AsyncSession, queue: str) -> int:
    statement = (
        select(func.count())
        .select_from(TaskRow)
        .where(
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == queue,
            col(TaskRow.rung_at).is_not(None),
        )
    )
    return (await session.execute(statement)).scalar_one()


async def served_s(session: AsyncSession, queue: str) -> dict[str, float]:
    """Seconds of this queue's service that each key had within the window, what is running and rung counted too."""
    now = (await session.execute(select(db_now(0)))).scalar_one()
    statement = (
        select(col(JobRow.owner_id), col(AttemptRow.started_at), col(AttemptRow.ended_at))
        .join(TaskRow, col(TaskRow.id) == col(AttemptRow.task_id))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(
            col(TaskRow.queue) == queue,
            col(AttemptRow.started_at) > now - timedelta(seconds=FAIRNESS_WINDOW_S),
        )
    )
    served: dict[str, float] = {}
    for owner_id, started_at, ended_at in await session.execute(statement):
        served[owner_id] = served.get(owner_id, 0.0) + ((ended_at or now) - started_at).total_seconds()
    return served
