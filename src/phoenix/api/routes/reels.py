"""Reels: prompts in, one video out."""

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AuthFirstRoute
from phoenix.api.http.response_docs import JOB_ACCEPTED
from phoenix.api.submission.submit import SubmissionDep, admit_reel
from phoenix.contract.jobs import Job
from phoenix.contract.requests import ReelRequest

router = APIRouter(tags=["reels"], route_class=AuthFirstRoute)

_EXAMPLES: dict[str, Example] = {
    "one clip": {"value": {"clips": [{"prompt": "a red balloon over a harbour at dawn"}]}},
    "a reel with everything": {
        "value": {
            "model": "animatic",
            "clips": [
                {"prompt": "a red balloon over a harbour at dawn", "duration_s": 3, "seed": 7},
                {"prompt": "the harbour from above", "negative_prompt": "text"},
            ],
            "aspect_ratio": "9:16",
            "resolution": "480p",
            "fps": 16,
            "steps": 20,
            "guidance_scale": 5.0,
            "seed": 1,
            "soundtrack": {"artifact_id": "art_01kag3e9zq4f7w5m8x2c6b0n1d", "fade_out_s": 1.0},
            "transition": {"kind": "crossfade", "duration_s": 0.5},
            "priority": "normal",
            "queue_timeout_s": 600,
            "run_timeout_s": 3600,
            "metadata": {"customer": "42"},
        }
    },
}


@router.post("/v1/reels", status_code=202, responses=JOB_ACCEPTED)
async def create_reel(body: Annotated[ReelRequest, Body(openapi_examples=_EXAMPLES)], submission: SubmissionDep) -> Job:
    """Render a reel.

    Answers at once with a queued job. Clips are rendered on as many workers as are free, joined in order, and the
    soundtrack is laid under them. All faults of a request are reported at once, each with its pointer.
    """
    return await submission.accept(body, lambda: admit_reel(submission, body))
