"""What follows an attempt without success: the task is retried, or it fails for good and its job with it.

The caller holds the lock on the job's row and knows that the attempt is over.
"""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import func, select
from sqlmodel import col

from phoenix.contract import ClipFailed, ClipRetrying, JobError, JobState
from phoenix.db import UnitOfWork
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.execution.job_completion import advance_job, close_attempt, end_job, transition_task
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind, TaskState, parse_stage
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.tables import AttemptRow, JobRow, TaskRow, WorkerRow
from phoenix.settings import SchedulerSettings


@dataclass(frozen=True)
class RetryRule:
    """How often a task is tried before its job fails, and how long it waits between two attempts."""

    max_failures: int
    max_crashes: int
    first_delay_s: float

    @classmethod
    def from_settings(cls, settings: SchedulerSettings) -> "RetryRule":
        """The retry rule of the scheduler's settings."""
        return cls(settings.max_failures, settings.max_crashes, settings.retry_delay_s)


async def handle_lost_worker(uow: UnitOfWork, job: JobRow, task: TaskRow, rule: RetryRule, *, cause: str) -> None:
    """Ends an attempt whose worker was lost. The task is retried, unless too many workers were lost on it."""
    task.crashes += 1
    error = make_error(task, FailureCode.WORKER_LOST, cause, parse_stage(task.kind, task.stage), retriable=True)
    await close_attempt(uow, task, AttemptEndState.CRASHED, error)
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


async def retry_task(uow: UnitOfWork, job: JobRow, task: TaskRow, error: JobError, *, delay_s: float) -> None:
    """Makes the task ready for another attempt in `delay_s`; cancels it if its job is ending."""
    if job.ending is not None:
        transition_task(task, TaskState.CANCELED, await uow.now())
        await advance_job(uow, job)
        return
    transition_task(task, TaskState.READY, await uow.now(), back_off_s=delay_s)
    uow.publish_after_commit(TasksReady())
    if task.kind is TaskKind.RENDER:
        event = partial(ClipRetrying, clip_index=task.position, attempt=task.attempt, reason=error, retry_in_s=delay_s)
        await append_event(uow, job, event)


async def discard_task(uow: UnitOfWork, job: JobRow, task: TaskRow, error: JobError) -> None:
    """Fails the task for good, and its job with it. Running clips may finish: a manual retry will use them."""
    task.error = error.model_dump(mode="json")
    transition_task(task, TaskState.FAILED, await uow.now())
    if task.kind is TaskKind.RENDER:
        event = partial(ClipFailed, clip_index=task.position, attempt=task.attempt, error=error)
        await append_event(uow, job, event)
    if job.ending is None:
        await end_job(uow, job, JobState.FAILED, error, stop_reason=None)
    else:
        await advance_job(uow, job)


def make_error(task: TaskRow, code: FailureCode, message: str, stage: Stage, *, retriable: bool) -> JobError:
    """An error of this task. It names the clip if the task renders one."""
    clip_index = task.position if task.kind is TaskKind.RENDER else None
    return JobError(code=code, message=message, retriable=retriable, stage=stage, clip_index=clip_index)
