"""Converts between OpenAI's videos and Phoenix's reels and jobs. Pure."""

from itertools import product
from typing import Any

from phoenix.catalog.model import Catalog, SizeRule
from phoenix.catalog.resolve import Size, fit_size
from phoenix.clock import plain_number
from phoenix.contract import (
    AspectRatio,
    ClipRequest,
    Job,
    JobState,
    ReelRequest,
    Resolution,
    ResolvedReel,
    Video,
    VideoError,
    VideoRequest,
    VideoStatus,
)
from phoenix.errors import Conflict, FieldError, InvalidRequest

NamedSizes = dict[Size, tuple[Resolution, AspectRatio]]


def name_sizes(rule: SizeRule) -> NamedSizes:
    """The name of every size that the model makes. If a size has two names, the first in the catalog's order counts."""
    named: NamedSizes = {}
    for resolution, aspect_ratio in product(rule.resolutions, rule.aspect_ratios):
        named.setdefault(fit_size(rule, resolution, aspect_ratio), (resolution, aspect_ratio))
    return named


TITLE_KEY = "video_prompt"
"""Metadata key: the prompt of a video that was made of `clips`."""

REMIXED_KEY = "video_remixed_from"
"""Metadata key: id of the original of a remix."""

_STATUSES: dict[JobState, VideoStatus] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
}
_SHARED = {"model", "seed", "steps", "fps", "guidance_scale", "negative_prompt"}


def to_reel(request: VideoRequest, catalog: Catalog, *, default_model: str) -> ReelRequest:
    """The reel that this video is. Raises `InvalidRequest` for a size that the model does not make."""
    clip: dict[str, Any] = {"prompt": request.prompt}
    if request.input_reference is not None:
        clip["image_artifact_id"] = request.input_reference.file_id
    reel = request.model_dump(include=_SHARED, exclude_unset=True)
    if request.clips is None:
        reel["clips"] = [clip]
    else:
        reel["clips"] = [one.model_dump(exclude_unset=True) for one in request.clips]
        reel["metadata"] = {TITLE_KEY: request.prompt[:512]}
    if request.seconds is not None:
        reel["duration_s"] = request.seconds
    if request.size is not None:
        reel |= _name_size(request.size, catalog, request.model or default_model)
    return ReelRequest.model_validate(reel)


def to_remix(job: Job, prompt: str) -> ReelRequest:
    """The same reel with another prompt: seed, size, length, steps, picture and sound stay.

    Raises `Conflict` unless the job has succeeded, and `InvalidRequest` for a reel whose clips have their own prompts.
    """
    if job.state is not JobState.SUCCEEDED:
        raise Conflict(f"The video is {_STATUSES.get(job.state, 'failed')}; only a completed one can be remixed.")
    reel = job.request
    assert isinstance(reel, ResolvedReel), "only reels are videos"
    if len(reel.clips) > 1 or TITLE_KEY in job.metadata:
        raise InvalidRequest("This video was made of `clips`; make a new one with the clips as you want them.")
    (clip,) = reel.clips
    return ReelRequest(
        model=reel.model,
        clips=[
            ClipRequest(
                prompt=prompt,
                negative_prompt=clip.negative_prompt,
                duration_s=clip.duration_s,
                seed=clip.seed,
                steps=clip.steps,
                guidance_scale=clip.guidance_scale,
                image_artifact_id=clip.image_artifact_id,
            )
        ],
        aspect_ratio=reel.aspect_ratio,
        resolution=reel.resolution,
        fps=reel.fps,
        deterministic=clip.deterministic,
        soundtrack=reel.soundtrack,
        transition=reel.transition,
        metadata={REMIXED_KEY: video_id_of(job.id)},
    )


def _name_size(size: str, catalog: Catalog, model_id: str) -> dict[str, str]:
    model = catalog.find(model_id)
    if model is None:
        return {}  # admission reports the unknown model
    sizes = name_sizes(model.size)
    width, _, height = size.partition("x")
    named = sizes.get(Size(int(width), int(height)))
    if named is None:
        detail = f"{model.id} makes {', '.join(map(str, sorted(sizes)))}; choose one of them"
        raise InvalidRequest.from_field_errors([FieldError("/size", detail)])
    return {"resolution": named[0], "aspect_ratio": named[1]}


def job_id_of(video_id: str) -> str:
    return "job_" + video_id.removeprefix("video_")


def video_id_of(job_id: str) -> str:
    return "video_" + job_id.removeprefix("job_")


def view_video(job: Job) -> Video:
    """The job of a reel as a video."""
    reel = job.request
    assert isinstance(reel, ResolvedReel), "only reels are videos"
    is_done = job.state is JobState.SUCCEEDED and job.finished_at is not None
    seconds = job.output.duration_s if job.output else sum(clip.duration_s for clip in reel.clips)
    return Video(
        id=video_id_of(job.id),
        model=reel.model,
        status=_STATUSES.get(job.state, "failed"),
        progress=100 if is_done else int(job.progress * 100),
        created_at=int(job.created_at.timestamp()),
        completed_at=int(job.finished_at.timestamp()) if is_done and job.finished_at else None,
        error=_view_error(job),
        prompt=job.metadata.get(TITLE_KEY, reel.clips[0].prompt),
        remixed_from_video_id=job.metadata.get(REMIXED_KEY),
        seconds=plain_number(round(seconds, 3)),
        size=f"{reel.width}x{reel.height}",
    )


def _view_error(job: Job) -> VideoError | None:
    """The error of a job that did not succeed. The SDKs know one failed status, and poll on at an unknown status."""
    if job.state is JobState.CANCELED:
        return VideoError(code="cancelled", message="The job was canceled.")
    if job.error is None or job.state not in (JobState.FAILED, JobState.EXPIRED):
        return None
    code = "expired" if job.state is JobState.EXPIRED else job.error.code.lower()
    return VideoError(code=code, message=job.error.message)
