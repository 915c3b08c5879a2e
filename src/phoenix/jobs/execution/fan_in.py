"""What the end of a task means for its job: the fan-in, and the one terminal state; for a draft, also for its reel.

The caller holds the lock on the job's row: if two clips end at the same time, exactly one of them is the last.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from phoenix.contract import (
    JobAwaitingApproval,
    JobCanceled,
    JobError,
    JobExpired,
    JobFailed,
    JobState,
    JobSucceeded,
)
from phoenix.db import UnitOfWork
from phoenix.jobs import views
from phoenix.jobs.event_log.writer import EventFactory, append_event
from phoenix.jobs.history.measurements import measure_attempt, measure_job
from phoenix.jobs.lifecycle import (
    AttemptEndState,
    StopRequestReason,
    TaskState,
    check_job_transition,
    check_task_transition,
    is_unblocked,
)
from phoenix.jobs.metrics import count_job_end
from phoenix.jobs.post_commit import StopRequested, TasksReady
from phoenix.jobs.repository import TaskSummary, find_job_locked, list_task_summaries, list_tasks
from phoenix.jobs.tables import ArtifactRow, AttemptRow, JobRow, TaskRow


async def advance_job(uow: UnitOfWork, job: JobRow) -> None:
    """Advances a job after one of its tasks has ended: unblocks the tasks that waited for it, or ends the job."""
    await uow.session.flush()
    if job.ending is not None:
        await _wind_down(uow, job, await list_tasks(uow.session, job.id))
        return
    tasks = await list_task_summaries(uow.session, job.id)
    if not job.state.is_terminal and all(task.state is TaskState.SUCCEEDED for task in tasks if task.kind.decides_job):
        await _succeed(uow, job, await list_tasks(uow.session, job.id))
    else:
        await _unblock(uow, tasks)


async def end_job(
    uow: UnitOfWork, job: JobRow, ending: JobState, error: JobError | None, *, stop_reason: StopRequestReason | None
) -> None:
    """Starts to end a job in the state `ending`. The first call wins; later calls change nothing.

    Waiting tasks are canceled now. Running tasks are asked to stop with `stop_reason`, or may finish if it is None.
    The job ends when its last running task has ended.
    """
    if job.ending is not None or job.state.is_terminal:
        return
    job.ending = ending
    job.error = error.model_dump(mode="json") if error else None
    for task in await list_tasks(uow.session, job.id):
        if task.state is TaskState.RUNNING and stop_reason is not None:
            task.stop_reason = stop_reason
            uow.publish_after_commit(StopRequested(task.id))
    await advance_job(uow, job)


async def _wind_down(uow: UnitOfWork, job: JobRow, tasks: Sequence[TaskRow]) -> None:
    now = await uow.now()
    for task in tasks:
        if task.state in (TaskState.READY, TaskState.BLOCKED):
            transition_task(task, TaskState.CANCELED, now)
    if any(task.state is TaskState.RUNNING for task in tasks):
        return
    assert job.ending is not None
    await _finish_job(uow, job, job.ending, _terminal_event(job))


def _terminal_event(job: JobRow) -> EventFactory:
    if job.ending is JobState.CANCELED:
        return JobCanceled
    error = JobError.model_validate(job.error)
    return partial(JobExpired if job.ending is JobState.EXPIRED else JobFailed, error=error)


async def _succeed(uow: UnitOfWork, job: JobRow, tasks: Sequence[TaskRow]) -> None:
    job.output_artifact_id = tasks[-1].artifact_id
    artifact = await uow.session.get_one(ArtifactRow, job.output_artifact_id)
    job.finished_at = await uow.now()
    event = partial(JobSucceeded, output=views.view_output(job, artifact), timings=views.view_timings(job, tasks))
    await _finish_job(uow, job, JobState.SUCCEEDED, event)


async def _finish_job(uow: UnitOfWork, job: JobRow, state: JobState, event: EventFactory) -> None:
    check_job_transition(job.state, state)
    job.state = state
    job.ending = None
    job.finished_at = await uow.now()
    await append_event(uow, job, event)
    output = await uow.session.get(ArtifactRow, job.output_artifact_id) if job.output_artifact_id else None
    job.ends += 1
    measure_job(uow, job, video_s=float(output.info.get("duration_s") or 0.0) if output else 0.0)
    # After the event, whose number locks the owner's row: every transaction takes its locks in the same order.
    count_job_end(uow, job)
    if job.draft_of is not None:
        await _end_draft(uow, job)


async def _end_draft(uow: UnitOfWork, draft: JobRow) -> None:
    """Asks for the approval of a draft that is done. A job whose draft ended otherwise ends in the same way."""
    job = await find_job_locked(uow.session, draft.draft_of) if draft.draft_of else None
    if job is None or job.state is not JobState.HELD or job.ending is not None:
        return
    if draft.state is JobState.SUCCEEDED:
        await ask_for_approval(uow, job, draft)
        return
    error = JobError.model_validate(draft.error) if draft.error else None
    message = f"Its draft, {draft.id}, did not succeed: "
    shown = error and error.model_copy(update={"message": message + error.message})
    await end_job(uow, job, draft.state, shown, stop_reason=None)


async def ask_for_approval(uow: UnitOfWork, job: JobRow, draft: JobRow) -> None:
    """Starts the wait of a held job whose draft is done. The caller holds the lock on its row."""
    expires_at = await uow.now() + timedelta(seconds=job.approval_timeout_s or 0)
    job.queue_deadline_at = expires_at
    await append_event(uow, job, partial(JobAwaitingApproval, draft_job_id=draft.id, expires_at=expires_at))


async def _unblock(uow: UnitOfWork, tasks: Sequence[TaskSummary]) -> None:
    # A chained reel of 500 clips has as many blocked tasks, and few of all tasks have not succeeded near its end.
    missing = [task for task in tasks if task.state is not TaskState.SUCCEEDED]
    for summary in missing:
        if summary.state is TaskState.BLOCKED and is_unblocked(summary, missing):
            task = await uow.session.get_one(TaskRow, summary.id, populate_existing=True)
            transition_task(task, TaskState.READY, await uow.now())
            uow.publish_after_commit(TasksReady())


async def close_attempt(
    uow: UnitOfWork,
    job: JobRow,
    task: TaskRow,
    outcome: AttemptEndState,
    error: JobError | None = None,
    *,
    output_bytes: int = 0,
) -> None:
    """Records how and when the task's newest attempt ended. `output_bytes`: the size of its files."""
    attempt = await uow.session.get_one(AttemptRow, (task.id, task.attempt))
    attempt.ended_at = await uow.now()
    attempt.outcome = outcome
    attempt.error = error.model_dump(mode="json") if error else None
    measure_attempt(uow, job, task, attempt, output_bytes=output_bytes)


def transition_task(task: TaskRow, state: TaskState, now: datetime, *, back_off_s: float = 0) -> None:
    """Changes a task's state, and the columns that depend on it. Raises `IllegalTransition`.

    `back_off_s`: seconds until a task that becomes ready may be dispatched.
    """
    check_task_transition(task.state, state)
    task.state = state
    task.lease_owner = None
    task.lease_until = None
    task.stage = None
    task.stop_reason = None
    if state is TaskState.READY:
        # A new dispatch number: an old dispatch message, which may still be in Redis, can no longer claim the task.
        task.dispatch_seq += 1
        task.dispatched_at = None
        task.affinity_skipped_at = None
        task.waiting_since = now
        task.eligible_at = now + timedelta(seconds=back_off_s)
        task.finished_at = None
    elif state.is_terminal:
        task.finished_at = now
