"""Stitches: existing videos, joined into one."""

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AuthFirstRoute
from phoenix.api.http.response_docs import JOB_ACCEPTED
from phoenix.api.submission.submit import SubmissionDep
from phoenix.catalog.admission import admit_stitch
from phoenix.contract.jobs import Job
from phoenix.contract.requests import StitchRequest
from phoenix.contract.resolved import ResolvedStitch

router = APIRouter(tags=["stitches"], route_class=AuthFirstRoute)

_EXAMPLES: dict[str, Example] = {
    "two videos with a crossfade": {
        "value": {
            "artifact_ids": ["art_01kag3e9zq4f7w5m8x2c6b0n1d", "art_01kag3e9zq4f7w5m8x2c6b0n1e"],
            "transition": {"kind": "crossfade", "duration_s": 0.5},
        }
    }
}


@router.post("/v1/stitches", status_code=202, responses=JOB_ACCEPTED)
async def create_stitch(
    body: Annotated[StitchRequest, Body(openapi_examples=_EXAMPLES)], submission: SubmissionDep
) -> Job:
    """Join videos.

    Takes uploads and results of earlier jobs, in the given order, with an optional soundtrack and transitions.
    """

    async def admit() -> ResolvedStitch:
        sound = body.soundtrack.artifact_id if body.soundtrack else None
        media = await submission.find_media([sound, *body.artifact_ids])
        return admit_stitch(body, limits=submission.limits, media=media)

    return await submission.accept(body, admit)
