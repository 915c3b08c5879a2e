"""Admits reels against the catalog, for both `/v1/reels` and `/v1/videos`."""

from phoenix.api.submission import Submission, draw_seed
from phoenix.catalog import admission
from phoenix.contract.requests import ReelRequest
from phoenix.contract.resolved import ResolvedReel


async def admit_reel(submission: Submission, body: ReelRequest) -> ResolvedReel:
    """The reel as it will be rendered. Raises `InvalidRequest` with every fault."""
    sound = body.soundtrack.artifact_id if body.soundtrack else None
    return admission.admit_reel(
        body,
        submission.services.catalog,
        default_model=submission.services.settings.engine.default_model,
        limits=submission.limits,
        draw_seed=draw_seed,
        media=await submission.find_media([sound, *(clip.image_artifact_id for clip in body.clips)]),
    )
