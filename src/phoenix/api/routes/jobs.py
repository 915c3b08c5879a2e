"""Jobs of every kind: finding, polling, canceling, retrying, deleting."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from phoenix.api.dependencies import CallerDep, OwnerDep, ServicesDep
from phoenix.api.http.conditional import check_if_match
from phoenix.api.http.parameters import IfMatch, Instant, JobIdInPath, SearchText, document_conditional_headers
from phoenix.api.http.response_docs import JOB_ACCEPTED, JOB_SHOWN, JOBS_LISTED
from phoenix.api.submission.job_views import fetch_job, respond_with_job, view_jobs
from phoenix.api.submission.submit import point_to_job, quota_of
from phoenix.contract.base import JobKind, Omittable
from phoenix.contract.jobs import Job, JobPage, JobState
from phoenix.jobs import repository, retention
from phoenix.jobs.control import cancel, retry

router = APIRouter(tags=["jobs"])


async def get_filter(
    state: Omittable[JobState] = None,
    kind: Omittable[JobKind] = None,
    model: Omittable[SearchText] = None,
    q: Annotated[Omittable[SearchText], Query(description="Words that the prompts contain, all of them.")] = None,
    created_after: Omittable[Instant] = None,
    created_before: Omittable[Instant] = None,
) -> repository.JobFilter:
    return repository.JobFilter(state, kind, model, q, created_after, created_before)


@router.head("/v1/jobs", include_in_schema=False)
@router.get("/v1/jobs", responses=JOBS_LISTED)
async def list_jobs(
    request: Request,
    response: Response,
    services: ServicesDep,
    owner: OwnerDep,
    wanted: Annotated[repository.JobFilter, Depends(get_filter)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[Omittable[SearchText], Query(description="`next_cursor` of the last page.")] = None,
) -> JobPage:
    """List jobs, newest first.

    Paging is stable while jobs arrive: none is repeated or skipped. The next page is also in the `Link` header.
    """
    async with services.database.read() as session:
        page = await repository.list_jobs(session, wanted, owner_id=owner, limit=limit, cursor=cursor)
    if page.next_cursor:
        kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        response.headers["Link"] = f'</v1/jobs?{urlencode([*kept, ("cursor", page.next_cursor)])}>; rel="next"'
    return JobPage(
        data=await view_jobs(services, page.jobs),
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


@router.head("/v1/jobs/{job_id}", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}", response_model=Job, responses=JOB_SHOWN, dependencies=[Depends(document_conditional_headers)]
)
async def get_job(
    request: Request,
    services: ServicesDep,
    owner: OwnerDep,
    job_id: JobIdInPath,
) -> Response:
    """Show a job.

    With the latest progress of its clips, and its queue position while it waits.
    """
    return respond_with_job(request, await fetch_job(services, job_id, owner))


@router.post("/v1/jobs/{job_id}/cancel", status_code=202, responses=JOB_ACCEPTED)
async def cancel_job(
    response: Response, services: ServicesDep, owner: OwnerDep, job_id: JobIdInPath, if_match: IfMatch = None
) -> Job:
    """Cancel a job.

    A waiting job is canceled at once. A running one shows `cancel_requested` until its workers have stopped.
    Canceling again is harmless, and a finished job is unchanged.
    """
    async with (
        services.database.write() as uow,
        check_if_match(uow, job_id, owner_id=owner, if_match=if_match),
    ):
        await cancel(uow, job_id, owner_id=owner)
    point_to_job(response, job_id)
    return await fetch_job(services, job_id, owner)


@router.post("/v1/jobs/{job_id}/retry", status_code=202, responses=JOB_ACCEPTED)
async def retry_job(
    response: Response, services: ServicesDep, caller: CallerDep, job_id: JobIdInPath, if_match: IfMatch = None
) -> Job:
    """Retry a job.

    Renders only what failed or is missing; finished clips are kept. 409 unless the job ended without success.
    """
    limits = services.settings.limits
    async with (
        services.database.write() as uow,
        check_if_match(uow, job_id, owner_id=caller.owner_id, if_match=if_match),
    ):
        await retry(
            uow,
            job_id,
            owner_id=caller.owner_id,
            queue_timeout_s=limits.default_queue_timeout_s,
            quota=quota_of(caller, limits),
            max_queued_jobs=limits.max_queued_jobs,
        )
    point_to_job(response, job_id)
    return await fetch_job(services, job_id, caller.owner_id)


@router.delete("/v1/jobs/{job_id}", status_code=204)
async def delete_job(services: ServicesDep, owner: OwnerDep, job_id: JobIdInPath, if_match: IfMatch = None) -> None:
    """Delete a finished job and its files.

    409 while it waits or runs: cancel it first.
    """
    async with (
        services.database.write() as uow,
        check_if_match(uow, job_id, owner_id=owner, if_match=if_match),
    ):
        await retention.delete_job(uow, job_id, owner_id=owner)
