"""Cancels a job, approves its draft, or queues it again.

A waiting job is canceled at once. A running job is canceled once its workers have stopped.
"""

from collections.abc import Sequence
from datetime import timedelta

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.stored_entries import EntryChanged, check_entries
from phoenix.contract import JobApproved, JobQueued, JobState, ResolvedReel
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.execution.fan_in import ask_for_approval, end_job, transition_task
from phoenix.jobs.lifecycle import (
    StopRequestReason,
    TaskKind,
    TaskState,
    can_retry_manually,
    check_job_transition,
    is_unblocked,
)
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.repository import list_tasks, lock_with_draft
from phoenix.jobs.submission.admission_control import QueueCapacity, Quota, check_capacity, check_quota
from phoenix.jobs.submission.file_references import pin_references_again
from phoenix.jobs.tables import JobRow, TaskRow


async def cancel(uow: UnitOfWork, job_id: str, *, owner_id: str) -> JobRow:
    """Cancels a job, and its draft. A job that has ended or is ending stays as it is. Raises `NotFound`."""
    job, draft = await lock_with_draft(uow.session, job_id, owner_id=owner_id)
    for each in (job, *([draft] if draft else [])):
        await end_job(uow, each, JobState.CANCELED, error=None, stop_reason=StopRequestReason.CANCEL)
    uow.publish_after_commit(TasksReady())
    return job


async def approve(
    uow: UnitOfWork,
    job_id: str,
    *,
    owner_id: str,
    default_queue_timeout_s: float,
    quota: Quota | None = None,
    max_queued_jobs: int | None = None,
    catalog: Catalog | None = None,
) -> JobRow:
    """Queues a held job whose draft is done. A job that was approved stays as it is.

    Raises `NotFound`, and `Conflict` for a job without a draft, before the draft is done, and after the job has ended
    without success. Also raises like `retry`: an approved job counts against the same limits as a new job.
    """
    job, _draft = await lock_with_draft(uow.session, job_id, owner_id=owner_id)
    if _is_approved(job):
        return job
    await _check_limits(uow, owner_id, quota, max_queued_jobs)
    tasks = await list_tasks(uow.session, job.id)
    if catalog is not None:
        _check_renderable(job, tasks, catalog)
    now = await uow.now()
    job.approved_at = now
    await _queue(uow, job, job.options.get("queue_timeout_s") or default_queue_timeout_s)
    for task in tasks:
        if task.state is TaskState.BLOCKED and is_unblocked(task, tasks):
            transition_task(task, TaskState.READY, now)
    await append_event(uow, job, JobApproved)
    uow.publish_after_commit(TasksReady())
    return job


def _is_approved(job: JobRow) -> bool:
    """Raises `Conflict` for a job that can be neither approved now nor was approved before."""
    if job.draft_job_id is None:
        raise Conflict("The job has no draft to approve. A reel with `hold` has one.")
    if job.state is JobState.HELD and job.queue_deadline_at is None:
        raise Conflict(f"The draft, {job.draft_job_id}, is not done yet.")
    if job.state is not JobState.HELD and job.approved_at is None:
        raise Conflict(f"The job is {job.state}, and was never approved. A retry brings it back to its draft.")
    return job.state is not JobState.HELD


async def retry(
    uow: UnitOfWork,
    job_id: str,
    *,
    owner_id: str,
    queue_timeout_s: float,
    quota: Quota | None = None,
    max_queued_jobs: int | None = None,
    catalog: Catalog | None = None,
) -> JobRow:
    """Queues the job again. A job that was never approved is held again, with its draft.

    Raises `NotFound`, and `Conflict` unless the job has ended without success and still has the files that it needs.
    With a catalog, also raises `Conflict` if its clips cannot be rendered as they were accepted, with the reason.

    Also raises `RateLimited` and `QueueFull`: a retried job counts against the same limits as a new job.
    """
    job, draft = await lock_with_draft(uow.session, job_id, owner_id=owner_id)
    if not can_retry_manually(job.state):
        raise Conflict(f"The job is {job.state}; only a failed, canceled or expired job can be tried again.")
    is_held = job.draft_job_id is not None and job.approved_at is None
    if is_held and draft is None:
        raise Conflict(f"The draft, {job.draft_job_id}, was deleted. Submit the reel again.")
    await _check_limits(uow, owner_id, quota, max_queued_jobs)
    tasks = await list_tasks(uow.session, job.id)
    if catalog is not None:
        _check_renderable(job, tasks, catalog)
    await pin_references_again(uow, job, tasks)
    await _reopen(uow, job, tasks, None if is_held else queue_timeout_s)
    if is_held and draft is not None:
        await _hold_again(uow, job, draft, queue_timeout_s, catalog)
    uow.publish_after_commit(TasksReady())
    return job


async def _hold_again(
    uow: UnitOfWork, job: JobRow, draft: JobRow, queue_timeout_s: float, catalog: Catalog | None
) -> None:
    """Lets the held job wait for its draft, which is retried unless it is under way or done."""
    if draft.state is JobState.SUCCEEDED:
        await ask_for_approval(uow, job, draft)
    elif draft.state.is_terminal:
        await retry(uow, draft.id, owner_id=job.owner_id, queue_timeout_s=queue_timeout_s, catalog=catalog)


async def _check_limits(uow: UnitOfWork, owner_id: str, quota: Quota | None, max_queued_jobs: int | None) -> None:
    if quota is not None:
        await check_quota(uow, owner_id, quota)
    if max_queued_jobs is not None:
        await check_capacity(uow, QueueCapacity(), limit=max_queued_jobs)


def _check_renderable(job: JobRow, tasks: Sequence[TaskRow], catalog: Catalog) -> None:
    request = job.parse_request()
    missing = [task for task in tasks if task.kind is TaskKind.RENDER and task.state is not TaskState.SUCCEEDED]
    if missing and isinstance(request, ResolvedReel):
        try:
            check_entries(request, catalog)
        except EntryChanged as changed:
            raise Conflict(f"The job cannot be tried again: {changed.detail}.") from changed


async def _reopen(uow: UnitOfWork, job: JobRow, tasks: Sequence[TaskRow], queue_timeout_s: float | None) -> None:
    """Reopens an ended job. Without a queue timeout, the job is held."""
    await _queue(uow, job, queue_timeout_s)
    job.error = None
    job.started_at = job.finished_at = job.run_deadline_at = None
    for task in tasks:
        if task.state is not TaskState.SUCCEEDED:
            await _reset(uow, task, is_blocked=queue_timeout_s is None or not is_unblocked(task, tasks))
    await append_event(uow, job, JobQueued)


async def _queue(uow: UnitOfWork, job: JobRow, queue_timeout_s: float | None) -> None:
    state = JobState.HELD if queue_timeout_s is None else JobState.QUEUED
    check_job_transition(job.state, state)
    now = await uow.now()
    job.state = state
    job.queued_at, job.moved_to_front_at = now, None
    job.queue_deadline_at = None if queue_timeout_s is None else now + timedelta(seconds=queue_timeout_s)


async def _reset(uow: UnitOfWork, task: TaskRow, *, is_blocked: bool) -> None:
    transition_task(task, TaskState.BLOCKED if is_blocked else TaskState.READY, await uow.now())
    task.error = None
    task.crashes = task.failures = 0
