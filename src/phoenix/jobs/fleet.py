"""How many tasks wait and run in each queue, and on how many slots."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.fleet import QueueDepth, QueueName, QueueView
from phoenix.contract.jobs import JobState
from phoenix.db.columns import db_now
from phoenix.jobs.feed import count_slots
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.tables import JobRow, TaskRow

RENDERING: tuple[QueueName, ...] = ("gpu", "remote")
"""Queues of clips."""

QUEUES: tuple[QueueName, ...] = (*RENDERING, "media")


async def view_queue(session: AsyncSession, *, worker_timeout_s: float) -> QueueView:
    state = col(JobRow.state)
    statement = select(state, func.count()).where(state.in_([JobState.QUEUED, JobState.RUNNING])).group_by(state)
    jobs = dict((await session.execute(statement)).all())
    return QueueView(
        jobs_queued=jobs.get(JobState.QUEUED, 0),
        jobs_running=jobs.get(JobState.RUNNING, 0),
        queues=[await _view_depth(session, name, worker_timeout_s) for name in QUEUES],
    )


async def _view_depth(session: AsyncSession, name: str, worker_timeout_s: float) -> QueueDepth:
    statement = (
        select(col(TaskRow.state), func.count(), func.min(col(TaskRow.ready_at)))
        .where(col(TaskRow.queue) == name, col(TaskRow.state).in_([TaskState.READY, TaskState.RUNNING]))
        .group_by(col(TaskRow.state))
    )
    rows = {state: (count, oldest) for state, count, oldest in (await session.execute(statement))}
    now = (await session.execute(select(db_now(0)))).scalar_one()
    waiting, oldest = rows.get(TaskState.READY, (0, None))
    return QueueDepth.model_validate(
        {
            "name": name,
            "waiting": waiting,
            "running": rows.get(TaskState.RUNNING, (0, None))[0],
            "slots": await count_slots(session, name, worker_timeout_s=worker_timeout_s),
            "oldest_wait_s": max((now - oldest).total_seconds(), 0) if oldest else None,
        }
    )
