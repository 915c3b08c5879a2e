"""Jobs as responses: their rows, combined with live progress and queue positions."""

from collections.abc import Mapping, Sequence

from fastapi import Request, Response

from phoenix.api.http.conditional import etag_of, is_not_modified, passes_if_match
from phoenix.assembly import Services
from phoenix.clock import utc_now
from phoenix.contract.jobs import Job, JobState
from phoenix.errors import PreconditionFailed, Unavailable
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.jobs.repository import FullJob, get_full_job
from phoenix.jobs.views import QueuePosition, live_state, view_job

POLL_AFTER_S = 2
"""Retry-After of an unfinished job, for clients that poll instead of streaming."""


async def fetch_job(services: Services, job_id: str, owner_id: str) -> Job:
    """The job as its owner sees it now. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await get_full_job(session, job_id, owner_id=owner_id)
    (view,) = await view_jobs(services, [job])
    return view


async def view_new_job(services: Services, job: FullJob) -> Job:
    """The view of a job that was just submitted: it cannot have any progress yet."""
    queue_positions = await _find_queue_positions(services, [job])
    return _view(job, NO_PROGRESS, queue_positions.get(job.row.id, QueuePosition()))


async def view_jobs(services: Services, jobs: Sequence[FullJob]) -> list[Job]:
    """Views of the jobs, in the same order."""
    queue_positions = await _find_queue_positions(services, [job for job in jobs if not job.row.state.is_terminal])
    # A failed job shows how far it came; a successful one needs no progress.
    published = await services.publisher.read_progress(
        [job.row.id for job in jobs if job.row.state is not JobState.SUCCEEDED]
    )
    return [
        _view(job, published.get(job.row.id, NO_PROGRESS), queue_positions.get(job.row.id, QueuePosition()))
        for job in jobs
    ]


def _view(job: FullJob, published: ProgressSnapshot, position: QueuePosition) -> Job:
    return view_job(job.row, job.tasks, job.output, live_state(published, position, utc_now()))


async def _find_queue_positions(services: Services, unfinished: Sequence[FullJob]) -> Mapping[str, QueuePosition]:
    if not unfinished:
        return {}
    try:
        return await services.queue_positions.find(unfinished)
    except Unavailable:
        # The queue position is a courtesy: an accepted job is shown without it.
        return {}


def respond_with_job(request: Request, job: Job) -> Response:
    """200 with an `ETag`, or 304 if the client has this very view. Raises `PreconditionFailed`."""
    body = job.model_dump_json().encode()
    etag = etag_of(job.last_seq, body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not job.state.is_terminal:
        headers["Retry-After"] = str(POLL_AFTER_S)
    if not passes_if_match(request.headers.get("if-match"), etag):
        raise PreconditionFailed
    if is_not_modified(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(body))
    shown = b"" if request.method == "HEAD" else body
    return Response(shown, headers=headers, media_type="application/json")
