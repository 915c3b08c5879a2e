"""What follows an attempt without success: the task is retried, or it fails for good and its job with it.

The caller holds the lock on the job's row and knows that the attempt is over.
"""

from dataclasses import dataclass
from functools import partial

from phoenix.contract import ClipFailed, ClipRetrying, JobError, JobState
from phoenix.db import UnitOfWork
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.execution.fan_in import advance_job, end_job, transition_task
from phoenix.jobs.lifecycle import TaskKind, TaskState, retry_delay_s
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.repository import list_tasks
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.settings import SchedulerSettings

SPACE_DELAY_S = 5.0
"""The pause after a first attempt that found no space for its files. It doubles with the attempts, up to 5 minutes."""


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

    def find_delay_s(self, failure: TaskFailed, failures: int, *, attempt: int, jitter: float) -> float | None:
        """Seconds until a task is tried again after its last failure; None if it is not tried again.

        `failures` counts this failure too, `attempt` is the number of the attempt, and `jitter` is from 0 to 1.
        """
        if failure.code is FailureCode.STORAGE_FULL:
            # Nothing is wrong with the task. The deadline of its job bounds how long it waits for space.
            return retry_delay_s(attempt, first_s=SPACE_DELAY_S, jitter=jitter)
        if not failure.retriable or failures >= self.max_failures:
            return None
        return retry_delay_s(failures, first_s=self.first_delay_s, jitter=jitter)


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
    """Fails the task for good, and its job with it. Running clips may finish: a manual retry will use them.

    A job does not fail with its segments: its playlist ends there.
    """
    task.error = error.model_dump(mode="json")
    transition_task(task, TaskState.FAILED, await uow.now())
    if task.kind is TaskKind.RENDER:
        event = partial(ClipFailed, clip_index=task.position, attempt=task.attempt, error=error)
        await append_event(uow, job, event)
    if not task.kind.decides_job:
        await _end_playlist(uow, job)
    elif job.ending is None:
        await end_job(uow, job, JobState.FAILED, error, stop_reason=None)
    else:
        await advance_job(uow, job)


async def _end_playlist(uow: UnitOfWork, job: JobRow) -> None:
    for task in await list_tasks(uow.session, job.id):
        if not task.kind.decides_job and task.state in (TaskState.BLOCKED, TaskState.READY):
            transition_task(task, TaskState.CANCELED, await uow.now())
    await advance_job(uow, job)


def make_error(task: TaskRow, code: FailureCode, message: str, stage: Stage, *, retriable: bool) -> JobError:
    """An error of this task. It names the clip if the task renders one."""
    clip_index = task.position if task.kind is TaskKind.RENDER else None
    return JobError(code=code, message=message, retriable=retriable, stage=stage, clip_index=clip_index)
