"""Which ready tasks have a dispatch message in Redis. All other tasks stay in SQL, and each pass orders them again."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import Select
from sqlmodel import col

from phoenix.db import UnitOfWork, db_now, seconds_since
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.durations import NO_DURATIONS, DurationStats, read_duration_stats
from phoenix.jobs.scheduling.fair_queue import (
    DispatchPlan,
    ReadyTask,
    apply_concurrency_limit,
    apply_model_limits,
    decayed_usage_s,
    fair_order,
    make_dispatch_plan,
)
from phoenix.jobs.scheduling.pauses import NO_PAUSES, Pauses, read_pauses
from phoenix.jobs.scheduling.shares import NO_SHARES, read_shares
from phoenix.jobs.scheduling.usage import usage_spans
from phoenix.jobs.scheduling.workers import RENDER_QUEUES
from phoenix.jobs.tables import JobRow, TaskRow, WorkerRow

MAX_SCANNED = 5000
"""The most ready tasks that one pass orders. It reads the first tasks of each owner first, and cuts off later tasks."""

DEFAULT_COST_S = 60.0
"""Seconds; assumed for a task of a model whose duration is not known yet."""


async def list_ready(
    session: AsyncSession,
    queue: str,
    durations: DurationStats = NO_DURATIONS,
    *,
    except_owners: Collection[str] = (),
    except_models: Collection[tuple[str, str | None]] = (),
    with_dispatched: bool = False,
    max_per_owner_and_priority: int = MAX_SCANNED,
    pauses: Pauses = NO_PAUSES,
) -> list[ReadyTask]:
    """Tasks that could start now, oldest first: tasks without a dispatch message or, `with_dispatched`, all tasks.

    `max_per_owner_and_priority`: the most tasks of one owner and priority. Dispatched tasks do not count. Tasks that
    one of `pauses` holds back are left out, and so are the tasks of `except_owners` and of `except_models`, which are
    pairs of owner and model.
    """
    ids = _select_ready_ids(
        queue,
        except_owners,
        max_per_owner_and_priority,
        except_models=except_models,
        with_dispatched=with_dispatched,
        pauses=pauses,
    )
    statement = _SELECT_TASKS.where(col(TaskRow.id).in_(ids)).order_by(*_IN_ORDER)
    return [_to_ready_task(row, durations) for row in await session.execute(statement)]


async def list_held_back(session: AsyncSession, queue: str, pauses: Pauses) -> list[ReadyTask]:
    """Dispatched tasks that one of `pauses` keeps from starting, until a worker claims them."""
    if not pauses:
        return []
    statement = _SELECT_TASKS.where(
        col(TaskRow.state) == TaskState.READY,
        col(TaskRow.queue) == queue,
        col(TaskRow.dispatched_at).is_not(None),
        ~pauses.allows(queue),
    )
    return [_to_ready_task(row, NO_DURATIONS) for row in await session.execute(statement)]


_IN_ORDER = (col(JobRow.queued_at), col(TaskRow.job_id), col(TaskRow.position))
# Otherwise the limit of one owner and priority could cut off what was moved to the front.
_IS_NOT_MOVED = col(JobRow.moved_to_front_at).is_(None)

_SELECT_TASKS = select(
    col(TaskRow.id),
    col(TaskRow.dispatch_seq),
    col(JobRow.owner_id),
    col(TaskRow.job_id),
    col(TaskRow.position),
    col(JobRow.priority),
    col(JobRow.queued_at),
    col(TaskRow.dispatched_at),
    col(JobRow.model),
    col(TaskRow.weight),
    col(JobRow.moved_to_front_at),
).join(JobRow, col(JobRow.id) == col(TaskRow.job_id))


def _to_ready_task(row: Sequence[Any], durations: DurationStats) -> ReadyTask:
    task_id, dispatch_seq, owner_id, job_id, position, priority, queued_at, dispatched_at, model, weight, front_at = row
    task = ReadyTask(
        task_id,
        dispatch_seq,
        owner_id,
        job_id,
        position,
        priority,
        queued_at,
        DEFAULT_COST_S,
        dispatched_at=dispatched_at,
        front_at=front_at,
        model=model,
    )
    learned_s = durations.estimate_task_s(model, weight)
    return task if learned_s is None else replace(task, cost_s=learned_s, is_cost_known=True)


def _select_ready_ids(
    queue: str,
    except_owners: Collection[str],
    max_per_owner_and_priority: int,
    *,
    except_models: Collection[tuple[str, str | None]],
    with_dispatched: bool,
    pauses: Pauses,
) -> Select[str]:
    is_undispatched = col(TaskRow.dispatched_at).is_(None)
    ordinal = func.row_number().over(
        partition_by=(col(JobRow.owner_id), col(JobRow.priority)),
        order_by=(_IS_NOT_MOVED, *_IN_ORDER),
    )
    numbered = (
        select(
            col(TaskRow.id), ordinal.label("ordinal"), col(JobRow.queued_at), is_undispatched.label("is_undispatched")
        )
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == queue,
            col(TaskRow.eligible_at) <= db_now(0),
            col(JobRow.owner_id).not_in(except_owners),
            pauses.allows(queue),
            *(
                ~((col(JobRow.owner_id) == owner_id) & (col(JobRow.model) == model))
                for owner_id, model in except_models
            ),
            *([] if with_dispatched else [is_undispatched]),
        )
        .subquery()
    )
    found = numbered.c
    # Dispatched tasks first: a pass cannot move a dispatch message that it has not read.
    return (
        select(found.id)
        .where((found.ordinal <= max_per_owner_and_priority) | ~found.is_undispatched)
        .order_by(found.is_undispatched, found.ordinal, found.queued_at)
        .limit(MAX_SCANNED)
    )


FAIRNESS_WINDOW_S = 900
"""Older usage does not count, so that an owner that was busy last night need not wait today."""


@dataclass(frozen=True)
class DispatchedTask:
    """A task that was dispatched and not claimed yet."""

    task_id: str
    dispatch_seq: int
    dispatched_at: datetime


AnyTask = TypeVar("AnyTask", ReadyTask, DispatchedTask)


async def plan_dispatch(
    session: AsyncSession, queue: str, *, prefetch_multiplier: float, max_per_owner: int = 0
) -> DispatchPlan:
    """What to change so that the next tasks are dispatched: `prefetch_multiplier` tasks per slot of the live workers.

    No owner has more than `max_per_owner` tasks running or dispatched at a time; 0 means no limit. An owner may have
    limits and a weight of its own.
    """
    pauses = await read_pauses(session)
    held_back = await list_held_back(session, queue, pauses)
    slots = await count_slots(session, queue)
    limit = math.ceil(prefetch_multiplier * slots)
    if limit == 0:
        return DispatchPlan(revoke=held_back)
    shares = await read_shares(session)
    # The other queues have no clips.
    limited = shares if queue in RENDER_QUEUES else NO_SHARES
    limits, model_limits = limited.limits, limited.model_limits
    running: Mapping[str, int] = {}
    if max_per_owner or limits:
        running = await count_in_flight(session, queue, with_dispatched=False)
    of_models = await count_models_in_flight(session, queue) if model_limits else {}
    owners_at_limit = [owner for owner, count in running.items() if 0 < limits.get(owner, max_per_owner) <= count]
    pairs_at_limit = [pair for pair, count in of_models.items() if count >= model_limits.get(pair[0], count + 1)]
    durations = await read_duration_stats(session)
    # Owners at their limit are excluded here, so that their tasks do not fill the scan of this pass.
    waiting = await list_ready(
        session,
        queue,
        durations,
        except_owners=owners_at_limit,
        except_models=pairs_at_limit,
        with_dispatched=True,
        max_per_owner_and_priority=limit,
        pauses=pauses,
    )
    ordered = fair_order(shares.weigh(waiting), shares.weigh_usage(await read_usage_s(session, queue)))
    allowed = apply_model_limits(ordered, of_models, model_limits)
    in_limits = apply_concurrency_limit(allowed, running, limit=max_per_owner, by_owner=limits)
    next_tasks = list(islice(in_limits, limit))
    plan = make_dispatch_plan(next_tasks, [task for task in waiting if task.dispatched_at is not None])
    return replace(plan, revoke=[*plan.revoke, *held_back])


async def count_in_flight(session: AsyncSession, queue: str, *, with_dispatched: bool = True) -> dict[str, int]:
    """How many tasks of this queue each owner has running and, `with_dispatched`, about to run."""
    is_dispatched = (col(TaskRow.state) == TaskState.READY) & col(TaskRow.dispatched_at).is_not(None)
    is_running = col(TaskRow.state) == TaskState.RUNNING
    statement = (
        select(col(JobRow.owner_id), func.count())
        .select_from(TaskRow)
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, is_running | is_dispatched if with_dispatched else is_running)
        .group_by(col(JobRow.owner_id))
    )
    return dict((await session.execute(statement)).all())


async def count_models_in_flight(session: AsyncSession, queue: str) -> dict[tuple[str, str | None], int]:
    """How many tasks of this queue each owner has running, by owner and model."""
    statement = (
        select(col(JobRow.owner_id), col(JobRow.model), func.count())
        .select_from(TaskRow)
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, col(TaskRow.state) == TaskState.RUNNING)
        .group_by(col(JobRow.owner_id), col(JobRow.model))
    )
    return {(owner_id, model): count for owner_id, model, count in await session.execute(statement)}


async def mark_dispatched(uow: UnitOfWork, tasks: Sequence[ReadyTask]) -> None:
    """Records that the tasks' dispatch messages are in Redis. Tasks that were claimed in the meantime are skipped."""
    for task in in_lock_order(tasks):
        statement = (
            update(TaskRow)
            .where(
                col(TaskRow.id) == task.task_id,
                col(TaskRow.dispatch_seq) == task.dispatch_seq,
                col(TaskRow.state) == TaskState.READY,
            )
            .values(dispatched_at=await uow.now())
        )
        await uow.session.execute(statement)


async def list_dispatched(session: AsyncSession, queue: str, *, older_than_s: float) -> list[DispatchedTask]:
    """Tasks that were dispatched more than `older_than_s` ago and not claimed: their messages may be lost."""
    statement = select(col(TaskRow.id), col(TaskRow.dispatch_seq), col(TaskRow.dispatched_at)).where(
        col(TaskRow.state) == TaskState.READY,
        col(TaskRow.queue) == queue,
        col(TaskRow.dispatched_at) <= db_now(-older_than_s),
    )
    rows = await session.execute(statement)
    return [
        DispatchedTask(task_id, dispatch_seq, dispatched_at)
        for task_id, dispatch_seq, dispatched_at in rows
        if dispatched_at
    ]


async def undispatch(uow: UnitOfWork, tasks: Sequence[AnyTask]) -> None:
    """Puts tasks whose message was lost back into the queue. Their number stays, so a late message is still valid."""
    for task in in_lock_order(tasks):
        statement = (
            update(TaskRow)
            .where(col(TaskRow.id) == task.task_id, col(TaskRow.dispatched_at) == task.dispatched_at)
            .values(dispatched_at=None)
        )
        await uow.session.execute(statement)


async def snooze(uow: UnitOfWork, task_id: str, dispatch_seq: int, *, for_s: float) -> None:
    """Takes a waiting task out of the queue for `for_s`, so that others are dispatched in its place.

    Its dispatch message stays where it is: a worker that can do the task may claim it at any time. The task waits on:
    `waiting_since` stays, or a task that nobody can do would seem to have just arrived for ever.
    """
    statement = (
        update(TaskRow)
        .where(
            col(TaskRow.id) == task_id, col(TaskRow.dispatch_seq) == dispatch_seq, col(TaskRow.state) == TaskState.READY
        )
        .values(dispatched_at=None, eligible_at=db_now(for_s))
    )
    await uow.session.execute(statement.execution_options(synchronize_session=False))


def in_lock_order(tasks: Iterable[AnyTask]) -> list[AnyTask]:
    """Sorted by id, like the updates of a flush, so that two transactions cannot deadlock."""
    return sorted(tasks, key=lambda task: task.task_id)


async def count_slots(session: AsyncSession, queue: str) -> int:
    """How many tasks of this queue the live workers can run at the same time."""
    statement = select(col(WorkerRow.slots)).where(col(WorkerRow.expires_at) > db_now())
    return sum(slots.get(queue, 0) for slots in await session.scalars(statement))


async def read_usage_s(session: AsyncSession, queue: str) -> dict[str, float]:
    """Seconds of usage of this queue by owner id: the usage within `FAIRNESS_WINDOW_S`, less its decay.

    Running attempts are included.
    """
    spans = usage_spans(queue, within_s=FAIRNESS_WINDOW_S).c
    ended_at = func.coalesce(spans.ended_at, db_now(0))
    span_s, idle_s = seconds_since(spans.started_at, ended_at), seconds_since(ended_at, db_now(0))
    # Summed in SQL: a busy fleet ends thousands of attempts within the window, too many to fetch in each pass.
    statement = select(spans.owner_id, func.sum(span_s), func.min(idle_s)).group_by(spans.owner_id)
    found = await session.execute(statement)
    return {owner_id: decayed_usage_s(span_s, idle_s) for owner_id, span_s, idle_s in found}
