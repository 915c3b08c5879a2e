"""Routes of one existing job of any kind: show, cancel, retry, approve, delete."""

from fastapi import APIRouter, Depends, Request, Response

from phoenix.api.dependencies import AppStateDep
from phoenix.api.http.conditional import etag_of_job, is_not_modified, passes_if_match
from phoenix.api.http.declarations import (
    JOB_ACCEPTED,
    JOB_SHOWN,
    IfMatch,
    WithSignedUrls,
    document_conditional_headers,
)
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.job_views import POLL_AFTER_S
from phoenix.api.steering.hidden_words import show_job
from phoenix.api.steering.job_acts import JobActsDep
from phoenix.api.steering.owners import JobSubjectDep
from phoenix.api.submission import point_to_job
from phoenix.contract import Job
from phoenix.errors import PreconditionFailed

router = APIRouter(tags=["jobs"], route_class=StrictRoute)


@router.head("/v1/jobs/{job_id}", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}", response_model=Job, responses=JOB_SHOWN, dependencies=[Depends(document_conditional_headers)]
)
async def get_job(
    request: Request,
    state: AppStateDep,
    subject: JobSubjectDep,
    signed: WithSignedUrls = False,
) -> Response:
    """Show a job.

    With the latest progress of its clips, and its queue position while it waits.
    """
    job = await state.job_views.fetch(subject.job_id, subject.owner_id)
    if signed and not subject.is_foreign:
        job = await state.signed_urls.with_urls(job, subject.caller)
    shown = show_job(job, subject.caller, state.services.settings)
    return _respond(request, job, state.job_views.to_json(shown))


@router.post("/v1/jobs/{job_id}/cancel", status_code=202, responses=JOB_ACCEPTED)
async def cancel_job(response: Response, acts: JobActsDep, subject: JobSubjectDep, if_match: IfMatch = None) -> Job:
    """Cancel a job.

    A waiting job is canceled at once. A running one shows `cancel_requested` until its workers have stopped.
    Canceling again is harmless, and a finished job is unchanged. With `owner`, 409 `JOB_ENDED` for a finished job.
    """
    await acts.cancel(subject, if_match)
    point_to_job(response, subject.job_id)
    return await acts.show(subject)


@router.post("/v1/jobs/{job_id}/retry", status_code=202, responses=JOB_ACCEPTED)
async def retry_job(response: Response, acts: JobActsDep, subject: JobSubjectDep, if_match: IfMatch = None) -> Job:
    """Retry a job.

    Renders only what failed or is missing; finished clips are kept. 409 unless the job ended without success, and if
    the catalog no longer has what its clips were accepted with.
    """
    await acts.retry(subject, if_match)
    point_to_job(response, subject.job_id)
    return await acts.show(subject)


@router.post("/v1/jobs/{job_id}/approve", status_code=202, responses=JOB_ACCEPTED)
async def approve_job(response: Response, acts: JobActsDep, subject: JobSubjectDep, if_match: IfMatch = None) -> Job:
    """Approve a draft.

    Queues a reel that was submitted with `hold`, once its draft is done. Approving again is harmless. 409 before the
    draft is done, for a job without a draft, and for a job that has ended before it was approved.
    """
    await acts.approve(subject, if_match)
    point_to_job(response, subject.job_id)
    return await acts.show(subject)


@router.delete("/v1/jobs/{job_id}", status_code=204)
async def delete_job(acts: JobActsDep, subject: JobSubjectDep, if_match: IfMatch = None) -> None:
    """Delete a finished job and its files.

    409 while it waits or runs, and while an unfinished job uses one of its files: cancel that one first.
    """
    await acts.delete(subject, if_match)


def _respond(request: Request, job: Job, body: bytes) -> Response:
    """200 with an `ETag`, or 304 if the client has this very view. Raises `PreconditionFailed`."""
    etag = etag_of_job(job, body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not job.state.is_terminal:
        headers["Retry-After"] = str(POLL_AFTER_S)
    if not passes_if_match(request.headers.get("if-match"), etag):
        raise PreconditionFailed
    if is_not_modified(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(body))
    return Response(b"" if request.method == "HEAD" else body, headers=headers, media_type="application/json")
