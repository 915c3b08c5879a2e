"""The attempts of a job, and its log."""

from typing import Annotated

from fastapi import APIRouter, Query

from phoenix.access.keys import Scope
from phoenix.api.dependencies import DatabaseDep
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.steering.owners import JobSubject, JobSubjectDep
from phoenix.contract.history import JobLog, LineLimit, TaskAttemptList
from phoenix.jobs.history.attempts import read_attempts, read_log

router = APIRouter(tags=["jobs"], route_class=StrictRoute)


@router.head("/v1/jobs/{job_id}/attempts", include_in_schema=False)
@router.get("/v1/jobs/{job_id}/attempts")
async def list_attempts(database: DatabaseDep, subject: JobSubjectDep) -> TaskAttemptList:
    """List the attempts of a job.

    Every attempt at every clip and at the other parts of the job: when it ran, how long each stage took, how it ended.
    With the scope `operator` or `admin` also which worker made it.
    """
    async with database.read() as session:
        attempts = await read_attempts(
            session, subject.job_id, owner_id=subject.owner_id, shows_workers=_sees_workers(subject)
        )
    return TaskAttemptList(data=attempts)


@router.head("/v1/jobs/{job_id}/logs", include_in_schema=False)
@router.get("/v1/jobs/{job_id}/logs")
async def get_log(
    database: DatabaseDep,
    subject: JobSubjectDep,
    limit: Annotated[LineLimit, Query(description="How many of the newest lines to show.")] = 500,
) -> JobLog:
    """Show the log of a job.

    Its durable events. With the scope `operator` or `admin` also what the workers logged during each attempt that has
    ended, at most 100 lines of each: such lines may name machines and folders.
    """
    async with database.read() as session:
        return await read_log(
            session,
            subject.job_id,
            owner_id=subject.owner_id,
            limit=limit,
            shows_workers=_sees_workers(subject),
        )


def _sees_workers(subject: JobSubject) -> bool:
    return subject.caller.may(Scope.OPERATOR)
