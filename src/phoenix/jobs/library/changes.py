"""Changes of a job that its owner makes after it was submitted."""

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import col

from phoenix.contract import JobChanges, JobState
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict, FieldError, JobEnded
from phoenix.jobs.library.meaning import delete_vectors
from phoenix.jobs.library.words import words_of_job
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.repository import get_job_locked
from phoenix.jobs.tables import JobRow, TaskRow

_WHILE_QUEUED = ("priority", "queue_timeout_s")
_WHILE_WAITING = ("position",)
"""A running job may have parts that wait."""


async def change_job(uow: UnitOfWork, job_id: str, changes: JobChanges, *, owner_id: str) -> None:
    """Makes all of the changes, in any state of the job, or none.

    Raises `NotFound`, and `Conflict` for a change of how the job waits once it does not wait any more.
    """
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    _check_still_queued(job, changes)
    if changes.title is not None:
        job.title = changes.title or None
    if changes.tags is not None:
        job.tags = changes.tags
    if changes.favorite is not None:
        job.favorite = changes.favorite
    if changes.metadata is not None:
        # A new object: the session does not see changes inside a JSON column.
        job.options = {**job.options, "metadata": changes.metadata}
    if _update_words(job):
        await delete_vectors(uow, job_id)
    if changes.queue_timeout_s is not None:
        job.queue_deadline_at = job.queued_at + timedelta(seconds=changes.queue_timeout_s)
    if changes.priority is not None:
        job.priority = changes.priority
    if changes.position is not None:
        job.moved_to_front_at = await uow.now()
    if changes.priority is not None or changes.position is not None:
        await _take_messages_back(uow, job)


async def _take_messages_back(uow: UnitOfWork, job: JobRow) -> None:
    """Lets the dispatcher put the waiting tasks into their new order, also those that it has dispatched."""
    waiting = (col(TaskRow.job_id) == job.id, col(TaskRow.state) == TaskState.READY)
    statement = update(TaskRow).where(*waiting).values(dispatched_at=None)
    await uow.session.execute(statement.execution_options(synchronize_session=False))
    uow.publish_after_commit(TasksReady())


def _check_still_queued(job: JobRow, changes: JobChanges) -> None:
    closed = () if job.state is JobState.QUEUED else _WHILE_QUEUED
    if job.state not in (JobState.QUEUED, JobState.RUNNING):
        closed = (*closed, *_WHILE_WAITING)
    late = [name for name in closed if getattr(changes, name) is not None]
    if not late:
        return
    detail = f"The job is {job.state}; this can be changed only while it waits. Leave it out to change the rest."
    refusal = JobEnded if job.state.is_terminal else Conflict
    raise refusal(detail, field_errors=[FieldError(f"/{name}", detail) for name in late])


def _update_words(job: JobRow) -> bool:
    """Whether the words have changed."""
    before = (job.search_title, job.search_text)
    words = words_of_job(
        job.request,
        owner_id=job.owner_id,
        title=job.title,
        tags=job.tags,
        metadata=job.options.get("metadata") or {},
        favorite=job.favorite,
    )
    job.search_title, job.search_text, job.search_filters = words.title, words.text, words.filters
    return before != (words.title, words.text)
