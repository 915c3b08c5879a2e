"""Which waiting tasks have a doorbell in Redis. The others stay in SQL, where each pass decides the order anew."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import Select
from sqlmodel import col

from phoenix.db.columns import db_now, seconds_since
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.durations import NOTHING_LEARNED, Paces, read_paces
from phoenix.jobs.scheduling.fair_queue import (
    UNCHANGED,
    Lineup,
    Waiting,
    line_up,
    remembered_s,
    take_turns,
    within_caps,
)
from phoenix.jobs.scheduling.usage import spans_of
from phoenix.jobs.tables import JobRow, TaskRow, WorkerRow

MAX_LOOKED_AT = 5000
"""Waiting tasks that one pass orders. The first ones of each key come first, so only later ones are cut off."""

TYPICAL_COST_S = 60.0
"""Seconds; assumed for a task of a model whose pace is not known yet."""


async def list_waiting(
    session: AsyncSession,
    queue: str,
    paces: Paces = NOTHING_LEARNED,
    *,
    except_owners: Collection[str] = (),
    with_rung: bool = False,
    first_of_each: int = MAX_LOOKED_AT,
) -> list[Waiting]:
    """Tasks that could start now, oldest first: those without a doorbell or, `with_rung`, all of them.

    `first_of_each`: at most so many tasks of one owner and priority, not counting those that are rung.
    """
    statement = (
        select(
            col(TaskRow.id),
            col(TaskRow.dispatch),
            col(JobRow.owner_id),
            col(TaskRow.job_id),
            col(TaskRow.position),
            col(JobRow.priority),
            col(JobRow.queued_at),
            col(TaskRow.rung_at),
            col(JobRow.model),
            col(TaskRow.weight),
        )
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.id).in_(_of_interest(queue, except_owners, first_of_each, with_rung=with_rung)))
        .order_by(col(JobRow.queued_at), col(TaskRow.job_id), col(TaskRow.position))
    )
    rows = (await session.execute(statement)).all()
    return [_waiting(Waiting(*row[:7], TYPICAL_COST_S, rung_at=row[7]), paces.task_s(*row[8:])) for row in rows]


def _of_interest(queue: str, except_owners: Collection[str], first_of_each: int, *, with_rung: bool) -> Select[str]:
    is_waiting = col(TaskRow.rung_at).is_(None)
    place = func.row_number().over(
        partition_by=(col(JobRow.owner_id), col(JobRow.priority)),
        order_by=(col(JobRow.queued_at), col(TaskRow.job_id), col(TaskRow.position)),
    )
    numbered = (
        select(col(TaskRow.id), place.label("place"), col(JobRow.queued_at), is_waiting.label("is_waiting"))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == queue,
            col(TaskRow.ready_at) <= db_now(0),
            col(JobRow.owner_id).not_in(except_owners),
            *([] if with_rung else [is_waiting]),
        )
        .subquery()
    )
    found = numbered.c
    # Rung tasks first: a pass cannot move a doorbell that it does not know of.
    return (
        select(found.id)
        .where((found.place <= first_of_each) | ~found.is_waiting)
        .order_by(found.is_waiting, found.place, found.queued_at)
        .limit(MAX_LOOKED_AT)
    )


def _waiting(task: Waiting, learned_s: float | None) -> Waiting:
    return task if learned_s is None else replace(task, cost_s=learned_s, is_cost_known=True)


FAIRNESS_WINDOW_S = 900
"""Service longer ago than this is forgotten, so that a key that was busy last night is not made to wait today."""


@dataclass(frozen=True)
class RungTask:
    """A task whose doorbell is in Redis and was not answered yet."""

    task_id: str
    dispatch: int
    rung_at: datetime


Known = TypeVar("Known", Waiting, RungTask)


async def choose_next(
    session: AsyncSession, queue: str, *, feed_ahead: float, worker_timeout_s: float, most_per_owner: int = 0
) -> Lineup:
    """What to change so that the next tasks have doorbells: `feed_ahead` per slot of the live workers.

    No owner has more than `most_per_owner` tasks running or rung at a time; 0 means no limit.
    """
    slots = await count_slots(session, queue, worker_timeout_s=worker_timeout_s)
    most = math.ceil(feed_ahead * slots)
    if most == 0:
        return UNCHANGED
    running = await count_in_hand(session, queue, with_rung=False) if most_per_owner else {}
    at_cap = [owner_id for owner_id, count in running.items() if count >= most_per_owner]
    paces = await read_paces(session)
    # Owners at their cap are excluded here already, lest their tasks fill up what one pass looks at.
    waiting = await list_waiting(session, queue, paces, except_owners=at_cap, with_rung=True, first_of_each=most)
    turns = take_turns(waiting, await served_s(session, queue))
    following = list(islice(within_caps(turns, running, most=most_per_owner), most))
    return line_up(following, [task for task in waiting if task.rung_at is not None])


async def count_in_hand(session: AsyncSession, queue: str, *, with_rung: bool = True) -> dict[str, int]:
    """How many tasks of this queue each owner has running and, `with_rung`, about to run."""
    is_rung = (col(TaskRow.state) == TaskState.READY) & col(TaskRow.rung_at).is_not(None)
    is_running = col(TaskRow.state) == TaskState.RUNNING
    statement = (
        select(col(JobRow.owner_id), func.count())
        .select_from(TaskRow)
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, is_running | is_rung if with_rung else is_running)
        .group_by(col(JobRow.owner_id))
    )
    return dict((await session.execute(statement)).all())


async def mark_rung(uow: UnitOfWork, tasks: Sequence[Waiting]) -> None:
    """Records that the doorbells are in Redis, except those that were answered in the meantime."""
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
    """Tasks whose doorbells have waited for an answer for so long that they may be lost."""
    statement = select(col(TaskRow.id), col(TaskRow.dispatch), col(TaskRow.rung_at)).where(
        col(TaskRow.state) == TaskState.READY,
        col(TaskRow.queue) == queue,
        col(TaskRow.rung_at) <= db_now(-older_than_s),
    )
    rows = await session.execute(statement)
    return [RungTask(task_id, dispatch, rung_at) for task_id, dispatch, rung_at in rows if rung_at]


async def unring(uow: UnitOfWork, tasks: Sequence[Known]) -> None:
    """Puts tasks without a doorbell back in line. The dispatch stays: an old doorbell that turns up is as good."""
    for task in in_lock_order(tasks):
        statement = (
            update(TaskRow)
            .where(col(TaskRow.id) == task.task_id, col(TaskRow.rung_at) == task.rung_at)
            .values(rung_at=None)
        )
        await uow.session.execute(statement)


async def put_off(uow: UnitOfWork, task_id: str, dispatch: int, *, for_s: float) -> None:
    """Takes a waiting task out of line for `for_s`, so that others are rung in its place.

    Its doorbell stays where it is: a worker that can do the task may claim it at any time.
    """
    statement = (
        update(TaskRow)
        .where(col(TaskRow.id) == task_id, col(TaskRow.dispatch) == dispatch, col(TaskRow.state) == TaskState.READY)
        .values(rung_at=None, ready_at=db_now(for_s))
    )
    await uow.session.execute(statement.execution_options(synchronize_session=False))


def in_lock_order(tasks: Iterable[Known]) -> list[Known]:
    """Sorted by id, like the updates of a flush, so that two transactions cannot deadlock."""
    return sorted(tasks, key=lambda task: task.task_id)


async def count_slots(session: AsyncSession, queue: str, *, worker_timeout_s: float) -> int:
    """Tasks of this queue that the live workers can run at once."""
    statement = select(col(WorkerRow.slots)).where(col(WorkerRow.seen_at) > db_now(-worker_timeout_s))
    return sum(slots.get(queue, 0) for slots in await session.scalars(statement))


async def served_s(session: AsyncSession, queue: str) -> dict[str, float]:
    """Seconds of service on this queue that count against each key: those within the window, less what is forgotten.

    Running attempts are included.
    """
    spans = spans_of(queue, within_s=FAIRNESS_WINDOW_S).c
    ended_at = func.coalesce(spans.ended_at, db_now(0))
    span_s, idle_s = seconds_since(spans.started_at, ended_at), seconds_since(ended_at, db_now(0))
    # Summed in SQL: a busy fleet ends thousands of attempts within the window, too many to fetch in each pass.
    statement = select(spans.owner_id, func.sum(span_s), func.min(idle_s)).group_by(spans.owner_id)
    found = await session.execute(statement)
    return {owner_id: remembered_s(span_s, idle_s) for owner_id, span_s, idle_s in found}
