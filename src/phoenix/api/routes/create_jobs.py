"""Submission of new jobs: reels, stitches, soundtracks and lip-syncs. Each route answers with the queued job."""

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.http.declarations import JOB_ACCEPTED
from phoenix.api.submission import SubmissionDep, SubmissionRoute
from phoenix.contract import Job, LipsyncRequest, ReelRequest, SoundtrackJobRequest, StitchRequest

router = APIRouter(route_class=SubmissionRoute)

_REELS: dict[str, Example] = {
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
_STITCHES: dict[str, Example] = {
    "two videos with a crossfade": {
        "value": {
            "artifact_ids": ["art_01kag3e9zq4f7w5m8x2c6b0n1d", "art_01kag3e9zq4f7w5m8x2c6b0n1e"],
            "transition": {"kind": "crossfade", "duration_s": 0.5},
        }
    }
}
_SOUNDTRACKS: dict[str, Example] = {
    "thirty seconds with fades": {
        "value": {
            "source": {"artifact_id": "art_01kag3e9zq4f7w5m8x2c6b0n1d", "fade_in_s": 1, "fade_out_s": 2},
            "duration_s": 30,
        }
    }
}
_LIPSYNCS: dict[str, Example] = {
    "a picture that speaks": {
        "value": {
            "video": "art_01kag3e9zq4f7w5m8x2c6b0n1d",
            "audio": "art_01kag3e9zq4f7w5m8x2c6b0n1e",
            "box": {"x": 220, "y": 80, "width": 200, "height": 240},
        }
    }
}


@router.post("/v1/reels", tags=["reels"], status_code=202, responses=JOB_ACCEPTED)
async def create_reel(body: Annotated[ReelRequest, Body(openapi_examples=_REELS)], submission: SubmissionDep) -> Job:
    """Render a reel.

    Answers at once with a queued job. Workers render the clips in parallel, join them in order, and mix in the
    soundtrack. An invalid request gets all of its errors at once, each with its pointer.
    """
    return await submission.submit(body)


@router.post("/v1/stitches", tags=["stitches"], status_code=202, responses=JOB_ACCEPTED)
async def create_stitch(
    body: Annotated[StitchRequest, Body(openapi_examples=_STITCHES)], submission: SubmissionDep
) -> Job:
    """Join videos.

    Takes uploads and results of earlier jobs, in the given order, with an optional soundtrack and transitions.
    """
    return await submission.submit(body)


@router.post("/v1/soundtracks", tags=["soundtracks"], status_code=202, responses=JOB_ACCEPTED)
async def create_soundtrack(
    body: Annotated[SoundtrackJobRequest, Body(openapi_examples=_SOUNDTRACKS)], submission: SubmissionDep
) -> Job:
    """Prepare a soundtrack.

    Trims, fades and levels a sound, and pads it to a length. The result is an artifact that reels can use.
    """
    return await submission.submit(body)


@router.post("/v1/lipsyncs", tags=["lipsyncs"], status_code=202, responses=JOB_ACCEPTED)
async def create_lipsync(
    body: Annotated[LipsyncRequest, Body(openapi_examples=_LIPSYNCS)], submission: SubmissionDep
) -> Job:
    """Make a face say a sound.

    Takes a video or a picture, and a sound. The result is a video whose mouth follows the sound.
    """
    return await submission.submit(body)
