"""Soundtracks: sounds prepared for later use."""

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AuthFirstRoute
from phoenix.api.http.response_docs import JOB_ACCEPTED
from phoenix.api.submission.submit import SubmissionDep
from phoenix.catalog.admission import admit_soundtrack
from phoenix.contract.jobs import Job
from phoenix.contract.requests import SoundtrackJobRequest
from phoenix.contract.resolved import ResolvedSoundtrack

router = APIRouter(tags=["soundtracks"], route_class=AuthFirstRoute)

_EXAMPLES: dict[str, Example] = {
    "thirty seconds with fades": {
        "value": {
            "source": {"artifact_id": "art_01kag3e9zq4f7w5m8x2c6b0n1d", "fade_in_s": 1, "fade_out_s": 2},
            "duration_s": 30,
        }
    }
}


@router.post("/v1/soundtracks", status_code=202, responses=JOB_ACCEPTED)
async def create_soundtrack(
    body: Annotated[SoundtrackJobRequest, Body(openapi_examples=_EXAMPLES)], submission: SubmissionDep
) -> Job:
    """Prepare a soundtrack.

    Trims, fades and levels a sound, and pads it to a length. The result is an artifact that reels can use.
    """

    async def admit() -> ResolvedSoundtrack:
        return admit_soundtrack(body, media=await submission.find_media([body.source.artifact_id]))

    return await submission.accept(body, admit)
