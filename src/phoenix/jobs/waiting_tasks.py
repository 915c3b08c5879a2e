"""The tasks that could start now, as the feeder and the queue positions see them. Their order is `order`'s part."""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import Select
from sqlmodel import col

from phoenix.db.columns import db_now
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.order import Waiting
from phoenix.jobs.pace import NOTHING_LEARNED, Paces
from phoenix.jobs.tables import JobRow, TaskRow

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
