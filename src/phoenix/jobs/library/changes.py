"""Changes of a job that its owner makes after it was submitted."""

from datetime import timedelta

from phoenix.contract import JobChanges, JobState
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict, FieldError
from phoenix.jobs.library.words import words_of_job
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.repository import get_job_locked
from phoenix.jobs.tables import JobRow

_WHILE_QUEUED = ("priority", "queue_timeout_s")


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
    _update_words(job)
    if changes.queue_timeout_s is not None:
        job.queue_deadline_at = job.queued_at + timedelta(seconds=changes.queue_timeout_s)
    if changes.priority is not None:
        job.priority = changes.priority
        # The dispatcher puts the waiting tasks into their new order.
        uow.publish_after_commit(TasksReady())


def _check_still_queued(job: JobRow, changes: JobChanges) -> None:
    late = [name for name in _WHILE_QUEUED if getattr(changes, name) is not None]
    if not late or job.state is JobState.QUEUED:
        return
    detail = f"The job is {job.state}; this can be changed only while it is queued. Leave it out to change the rest."
    raise Conflict(detail, field_errors=[FieldError(f"/{name}", detail) for name in late])


def _update_words(job: JobRow) -> None:
    words = words_of_job(
        job.request,
        owner_id=job.owner_id,
        title=job.title,
        tags=job.tags,
        metadata=job.options.get("metadata") or {},
        favorite=job.favorite,
    )
    job.search_title, job.search_text, job.search_filters = words.title, words.text, words.filters
