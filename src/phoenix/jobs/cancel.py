"""Canceling a job: at once while it waits; confirmed by its workers while it runs; harmless when repeated."""

from phoenix.contract.jobs import JobState
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.announcements import TasksReady
from phoenix.jobs.lifecycle import StopReason
from phoenix.jobs.rows import get_job_locked
from phoenix.jobs.settle import end_job
from phoenix.jobs.tables import JobRow


async def cancel(uow: UnitOfWork, job_id: str, *, owner_id: str) -> JobRow:
    """Cancels a job. One that is finished or already ending is unchanged. Raises `NotFound`."""
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    await end_job(uow, job, JobState.CANCELED, error=None, stop_reason=StopReason.CANCEL)
    uow.announce(TasksReady())
    return job
