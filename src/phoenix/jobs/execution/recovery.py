"""Recovery from lost workers and missed deadlines, one transaction per job. Run by lease reaper and supervisors."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.clock import in_seconds
from phoenix.contract import JobError, JobState
from phoenix.db import UnitOfWork, db_now
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.execution.fan_in import close_attempt, end_job
from phoenix.jobs.execution.retries import RetryRule, discard_task, make_error, retry_task
from phoenix.jobs.lifecycle import AttemptEndState, StopRequestReason, TaskState, parse_stage
from phoenix.jobs.repository import CAN_TRANSITION, find_job_locked, list_tasks
from phoenix.jobs.tables import AttemptRow, JobRow, TaskRow, WorkerRow

BATCH = 200
"""Rows of each kind per pass, so that a pass stays short.

Jobs that only a newer version can advance do not count: they would fill the batches of every pass.
"""


async def list_expired_leases(session: AsyncSession) -> Sequence[tuple[str, str]]:
    """(job id, task id) of running tasks whose lease has run out."""
    return await _list_running(session, col(TaskRow.lease_until) < db_now(0))


async def list_running_on(session: AsyncSession, worker_id: str) -> Sequence[tuple[str, str]]:
    """(job id, task id) of the tasks that a dead worker was running."""
    return await _list_running(session, col(TaskRow.lease_owner) == worker_id)


async def _list_running(session: AsyncSession, condition: ColumnElement[bool]) -> Sequence[tuple[str, str]]:
    statement = (
        select(col(TaskRow.job_id), col(TaskRow.id))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.state) == TaskState.RUNNING, condition, *CAN_TRANSITION)
        .limit(BATCH)
    )
    return (await session.execute(statement)).all()


async def recover_expired_lease(uow: UnitOfWork, job_id: str, task_id: str, rule: RetryRule) -> bool:
    """Takes a task back from a worker that stopped renewing. False if it renewed or ended in the meantime."""
    job, task = await _lock_running(uow, job_id, task_id)
    if job is None or task is None or task.lease_until is None or task.lease_until >= await uow.now():
        return False
    await _end_lost_attempt(uow, job, task, rule, cause="Its worker stopped answering.")
    return True


async def recover_from_lost_worker(uow: UnitOfWork, job_id: str, task_id: str, worker_id: str, rule: RetryRule) -> bool:
    """Takes a task back from a worker process that is known to have ended. False if it no longer holds the task."""
    job, task = await _lock_running(uow, job_id, task_id)
    if job is None or task is None or task.lease_owner != worker_id:
        return False
    await _end_lost_attempt(uow, job, task, rule, cause="Its worker process ended unexpectedly.")
    return True


async def _end_lost_attempt(uow: UnitOfWork, job: JobRow, task: TaskRow, rule: RetryRule, *, cause: str) -> None:
    """Ends an attempt whose worker was lost. The task is retried, unless too many workers were lost on it."""
    task.crashes += 1
    error = make_error(task, FailureCode.WORKER_LOST, cause, parse_stage(task.kind, task.stage), retriable=True)
    await close_attempt(uow, job, task, AttemptEndState.CRASHED, error)
    is_exhausted = task.crashes >= rule.max_crashes and job.ending is None
    lost = task.crashes - await _count_returned_workers(uow, task) if is_exhausted else 0
    if lost < rule.max_crashes:
        await retry_task(uow, job, task, error, delay_s=0)
    else:
        detail = f"{lost} workers were lost while they worked on this; it is not tried again by itself."
        await discard_task(uow, job, task, error.model_copy(update={"message": detail}))


async def _count_returned_workers(uow: UnitOfWork, task: TaskRow) -> int:
    """How many of the workers that were lost on this task have sent a heartbeat since.

    Such a worker was frozen, cut off or starved of CPU, which is not the task's fault. The run deadline bounds how
    often that may happen.
    """
    await uow.session.flush()
    crashed = (
        select(col(AttemptRow.worker_id), col(AttemptRow.ended_at))
        .where(col(AttemptRow.task_id) == task.id, col(AttemptRow.outcome) == AttemptEndState.CRASHED)
        .order_by(col(AttemptRow.number).desc())
        .limit(task.crashes)
        .subquery()
    )
    returned = select(func.count()).join_from(
        crashed, WorkerRow, (col(WorkerRow.id) == crashed.c.worker_id) & (col(WorkerRow.seen_at) >= crashed.c.ended_at)
    )
    return (await uow.session.execute(returned)).scalar_one()


async def _lock_running(uow: UnitOfWork, job_id: str, task_id: str) -> tuple[JobRow | None, TaskRow | None]:
    job = await find_job_locked(uow.session, job_id)
    task = await uow.session.get(TaskRow, task_id, populate_existing=True)
    return job, task if task is not None and task.state is TaskState.RUNNING else None


async def list_overdue(session: AsyncSession) -> Sequence[str]:
    """Ids of jobs that have waited, or run, longer than they may."""
    is_past = col(JobRow.queue_deadline_at) < db_now(0)
    held, waited = ((col(JobRow.state) == state) & is_past for state in (JobState.HELD, JobState.QUEUED))
    ran = (col(JobRow.state) == JobState.RUNNING) & (col(JobRow.run_deadline_at) < db_now(0))
    # Three statements: for an OR, PostgreSQL's planner would scan every job in the table.
    is_ours = (col(JobRow.ending).is_(None), *CAN_TRANSITION)
    overdue = [select(col(JobRow.id)).where(late, *is_ours).limit(BATCH) for late in (held, waited, ran)]
    return [job_id for statement in overdue for job_id in await session.scalars(statement)]


_NOT_STARTED = {
    JobState.HELD: "Nobody approved its draft in time.",
    JobState.QUEUED: "No worker was free within queue_timeout_s.",
}


async def end_overdue(uow: UnitOfWork, job_id: str) -> None:
    """Ends a job whose deadline has passed, even while workers run it."""
    job = await find_job_locked(uow.session, job_id)
    if job is None:
        return
    now = await uow.now()
    if job.state in _NOT_STARTED and job.queue_deadline_at and job.queue_deadline_at < now:
        error = _overdue(FailureCode.TIMEOUT, _NOT_STARTED[job.state], Stage.QUEUE)
        await end_job(uow, job, JobState.EXPIRED, error, stop_reason=None)
    elif job.state is JobState.RUNNING and job.run_deadline_at and job.run_deadline_at < now:
        stage = find_running_stage(await list_tasks(uow.session, job.id))
        message = f"It ran longer than run_timeout_s ({in_seconds(job.run_timeout_s)})."
        error = _overdue(FailureCode.RUN_TIMEOUT, message, stage)
        await end_job(uow, job, JobState.FAILED, error, stop_reason=StopRequestReason.DEADLINE)


def find_running_stage(tasks: Sequence[TaskRow]) -> Stage:
    """The stage of the newest running attempt; `QUEUE` if nothing of the job runs."""
    running = [
        (task.started_at, task)
        for task in tasks
        if task.state is TaskState.RUNNING and task.started_at and task.kind.decides_job
    ]
    if not running:
        return Stage.QUEUE
    _, newest = max(running, key=lambda each: each[0])
    return parse_stage(newest.kind, newest.stage)


def _overdue(code: FailureCode, message: str, stage: Stage) -> JobError:
    return JobError(code=code, message=message, retriable=True, stage=stage)
