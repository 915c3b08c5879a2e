"""Cancels a job, or queues it again.

A waiting job is canceled at once. A running job is canceled once its workers have stopped.
"""

from collections.abc import Sequence
from datetime import timedelta

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.stored_entries import EntryChanged, check_entries
from phoenix.contract import JobQueued, JobState, ResolvedReel
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.execution.fan_in import end_job, transition_task
from phoenix.jobs.lifecycle import (
    StopRequestReason,
    TaskKind,
    TaskState,
    can_retry_manually,
    check_job_transition,
    is_unblocked,
)
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.repository import get_job_locked, list_tasks
from phoenix.jobs.submission.admission_control import QueueCapacity, Quota, check_capacity, check_quota
from phoenix.jobs.submission.file_references import pin_references_again
from phoenix.jobs.tables import JobRow, TaskRow


async def cancel(uow: UnitOfWork, job_id: str, *, owner_id: str) -> JobRow:
    """Cancels a job. A job that has ended or is ending stays as it is. Raises `NotFound`."""
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    await end_job(uow, job, JobState.CANCELED, error=None, stop_reason=StopRequestReason.CANCEL)
    uow.publish_after_commit(TasksReady())
    return job


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
    """Queues the job again.

    Raises `NotFound`, and `Conflict` unless the job has ended without success and still has the files that it needs.
    With a catalog, also raises `Conflict` if its clips cannot be rendered as they were accepted, with the reason.

    Also raises `RateLimited` and `QueueFull`: a retried job counts against the same limits as a new job.
    """
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    if not can_retry_manually(job.state):
        raise Conflict(f"The job is {job.state}; only a failed, canceled or expired job can be tried again.")
    if quota is not None:
        await check_quota(uow, owner_id, quota)
    if max_queued_jobs is not None:
        await check_capacity(uow, QueueCapacity(), limit=max_queued_jobs)
    tasks = await list_tasks(uow.session, job.id)
    if catalog is not None:
        _check_renderable(job, tasks, catalog)
    await pin_references_again(uow, job, tasks)
    await _reopen(uow, job, queue_timeout_s)
    for task in tasks:
        if task.state is not TaskState.SUCCEEDED:
            await _reset(uow, task, is_blocked=not is_unblocked(task, tasks))
    await append_event(uow, job, JobQueued)
    uow.publish_after_commit(TasksReady())
    return job


def _check_renderable(job: JobRow, tasks: Sequence[TaskRow], catalog: Catalog) -> None:
    request = job.parse_request()
    missing = [task for task in tasks if task.kind is TaskKind.RENDER and task.state is not TaskState.SUCCEEDED]
    if missing and isinstance(request, ResolvedReel):
        try:
            check_entries(request, catalog)
        except EntryChanged as changed:
            raise Conflict(f"The job cannot be tried again: {changed.detail}.") from changed


async def _reopen(uow: UnitOfWork, job: JobRow, queue_timeout_s: float) -> None:
    check_job_transition(job.state, JobState.QUEUED)
    now = await uow.now()
    job.state = JobState.QUEUED
    job.error = None
    job.queued_at = now
    job.queue_deadline_at = now + timedelta(seconds=queue_timeout_s)
    job.started_at = job.finished_at = job.run_deadline_at = None


async def _reset(uow: UnitOfWork, task: TaskRow, *, is_blocked: bool) -> None:
    transition_task(task, TaskState.BLOCKED if is_blocked else TaskState.READY, await uow.now())
    task.error = None
    task.crashes = task.failures = 0
