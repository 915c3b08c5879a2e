"""Edits: a new job from a reel that has ended, of which only the changed clips are rendered."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AuthFirstRoute
from phoenix.api.http.declarations import JOB_ACCEPTED, JobIdInPath
from phoenix.api.submission import Submission, SubmissionDep, draw_seed
from phoenix.api.submitted_body import fingerprint_of
from phoenix.contract import EditRequest, Job, ResolvedReel
from phoenix.errors import Conflict, InvalidRequest
from phoenix.jobs.repository import get_job
from phoenix.jobs.submission.edits import EditedReel, edit_reel

router = APIRouter(tags=["reels"], route_class=AuthFirstRoute)

_EDITS: dict[str, Example] = {
    "another seed for one clip": {"value": {"clips": [{"op": "reroll", "index": 3}]}},
    "several changes": {
        "value": {
            "clips": [
                {"op": "replace", "index": 1, "clip": {"prompt": "the harbour at night"}},
                {"op": "move", "index": 2, "to": 0},
                {"op": "remove", "index": 2},
            ],
            "transition": {"kind": "crossfade", "duration_s": 0.5},
            "title": "Harbour, second version",
        }
    },
    "the final of a draft": {"value": {"model": "wan-2.2-t2v-a14b", "quality": "high"}},
    "a change that waits for the approval of its draft": {
        "value": {"clips": [{"op": "reroll", "index": 3}], "hold": "draft"}
    },
}


@router.post("/v1/jobs/{job_id}/edits", status_code=202, responses=JOB_ACCEPTED)
async def edit_job(
    job_id: JobIdInPath, body: Annotated[EditRequest, Body(openapi_examples=_EDITS)], submission: SubmissionDep
) -> Job:
    """Edit a reel.

    Makes a new job from a reel that has ended, in any state. Its unchanged clips are reused if their files are kept,
    and take no GPU time; the others are rendered. The original stays as it is, and `edited_from` of the new job names
    it. With `hold`, a draft of the new reel is rendered first. 409 while the job runs, and for a job that is no reel.
    """
    fingerprint = fingerprint_of(body)
    keyed = submission.keyed(fingerprint)
    # Before the original is looked up: it may have been deleted since.
    if keyed and (earlier := await submission.find_earlier(keyed)):
        return await submission.answer(earlier, is_replay=True)
    edited = await _edit(submission, job_id, body)
    try:
        return await replace(submission, edited_from=job_id).submit(edited.request, fingerprint=fingerprint)
    except InvalidRequest as error:
        raise InvalidRequest.from_field_errors(edited.explain(error.field_errors)) from error


async def _edit(submission: Submission, job_id: str, body: EditRequest) -> EditedReel:
    """Raises `NotFound`, `Conflict` unless the job is a reel that has ended, and `InvalidRequest`."""
    async with submission.database.read() as session:
        job = await get_job(session, job_id, owner_id=submission.caller.owner_id)
    reel = job.parse_request()
    if not isinstance(reel, ResolvedReel):
        raise Conflict(f"The job is a {job.kind}; only reels can be edited.")
    if not job.state.is_terminal:
        raise Conflict(f"The job is {job.state}; wait until it has ended, or cancel it, and edit it then.")
    return edit_reel(
        reel,
        body,
        submission.resolver.catalog,
        draw_seed=draw_seed,
        title=job.title,
        tags=job.tags,
        metadata=job.options.get("metadata"),
    )
