"""Converts between OpenAI's videos and Phoenix's reels and jobs. Pure."""

from itertools import product
from typing import Any

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.resolve import Size, fit_size
from phoenix.catalog.rules import SizeRule
from phoenix.clock import plain_number
from phoenix.contract import (
    AspectRatio,
    ClipRequest,
    ClipSource,
    Job,
    JobState,
    ReelRequest,
    Resolution,
    ResolvedReel,
    Video,
    VideoError,
    VideoExtensionRequest,
    VideoRequest,
    VideoStatus,
)
from phoenix.errors import Conflict, FieldError, InvalidRequest
from phoenix.jobs.submission.edits import as_requested

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
    JobState.HELD: "queued",
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
}
_SHARED = {
    "model",
    "seed",
    "steps",
    "fps",
    "guidance_scale",
    "negative_prompt",
    "quality",
    "loras",
    "upscale",
    "interpolate",
}


def to_reel(request: VideoRequest, catalog: Catalog, *, default_model: str) -> ReelRequest:
    """The reel that this video is. `find_size_error` has found no error in its size."""
    clip: dict[str, Any] = {"prompt": request.prompt}
    if request.input_reference is not None:
        clip["conditions"] = [{"role": "first_frame", "source": {"artifact_id": request.input_reference.file_id}}]
    reel = request.model_dump(include=_SHARED, exclude_unset=True, exclude_none=True)
    if request.clips is None:
        reel["clips"] = [clip]
    else:
        reel["clips"] = [one.model_dump(exclude_unset=True) for one in request.clips]
        reel["metadata"] = {TITLE_KEY: request.prompt[:512]}
    if request.seconds is not None:
        reel["duration_s"] = request.seconds
    model = catalog.find(request.model or default_model)
    if request.size is not None and model is not None:
        resolution, aspect_ratio = name_sizes(model.size)[_parse_size(request.size)]
        reel |= {"resolution": resolution, "aspect_ratio": aspect_ratio}
    return ReelRequest.model_validate(reel)


def to_remix(job: Job, prompt: str, catalog: Catalog) -> ReelRequest:
    """The same reel with another prompt: seed, size, length, steps, conditions, adapters and sound stay.

    Raises `Conflict` unless the job has succeeded, and `InvalidRequest` for a reel whose clips have their own prompts.
    """
    same, _ = _completed(job, "remixed", catalog)
    (clip,) = same.clips
    changes = {"clips": [clip.model_copy(update={"prompt": prompt})], "metadata": {REMIXED_KEY: video_id_of(job.id)}}
    return same.model_copy(update=changes)


def to_extension(job: Job, request: VideoExtensionRequest, catalog: Catalog) -> ReelRequest:
    """The video, and a clip that begins with its last frame: model, size, rate, steps and adapters stay.

    Raises `Conflict` unless the job has succeeded. Raises `InvalidRequest` for a reel whose clips have their own
    prompts, and for a reel that extends another: only its last clip would come first in the result.
    """
    same, clip_index = _completed(job, "extended", catalog)
    if same.extends is not None:
        detail = "This video was extended already; a reel of POST /v1/reels has any number of clips."
        raise InvalidRequest(detail, field_errors=[FieldError("/video", detail)])
    (clip,) = same.clips
    return ReelRequest(
        model=same.model,
        quality=same.quality,
        extends=ClipSource(job_id=job.id, clip_index=clip_index),
        clips=[
            ClipRequest(
                prompt=request.prompt,
                negative_prompt=clip.negative_prompt,
                duration_s=request.seconds,
                steps=clip.steps,
                guidance_scale=clip.guidance_scale,
                loras=clip.loras,
            )
        ],
        aspect_ratio=same.aspect_ratio,
        resolution=same.resolution,
        fps=same.fps,
        upscale=same.upscale,
        interpolate=same.interpolate,
        deterministic=same.deterministic,
        clip_sound=same.clip_sound,
    )


def _completed(job: Job, done: str, catalog: Catalog) -> tuple[ReelRequest, int]:
    """The request of a completed video, and the index of its only clip. `done` is what was asked for."""
    if job.state is not JobState.SUCCEEDED:
        raise Conflict(f"The video is {_STATUSES.get(job.state, 'failed')}; only a completed one can be {done}.")
    reel = job.request
    assert isinstance(reel, ResolvedReel), "only reels are videos"
    if len(reel.clips) > 1 or TITLE_KEY in job.metadata:
        raise InvalidRequest("This video was made of `clips`; make a new one with the clips as you want them.")
    return as_requested(reel, catalog), reel.clips[0].index


def find_size_error(request: VideoRequest, catalog: Catalog, *, default_model: str) -> FieldError | None:
    """The error of a size that the model does not make. None for an unknown model, which admission reports."""
    model = catalog.find(request.model or default_model)
    if model is None or request.size is None:
        return None
    sizes = name_sizes(model.size)
    if _parse_size(request.size) in sizes:
        return None
    return FieldError("/size", f"{model.id} makes {', '.join(map(str, sorted(sizes)))}; choose one of them")


def _parse_size(size: str) -> Size:
    width, _, height = size.partition("x")
    return Size(int(width), int(height))


def job_id_of(video_id: str) -> str:
    return "job_" + video_id.removeprefix("video_")


def video_id_of(job_id: str) -> str:
    return "video_" + job_id.removeprefix("job_")


def view_video(job: Job) -> Video:
    """The job of a reel as a video."""
    reel = job.request
    assert isinstance(reel, ResolvedReel), "only reels are videos"
    is_done = job.state is JobState.SUCCEEDED and job.finished_at is not None
    seconds = job.output.duration_s if job.output else sum(reel.part_lengths_s)
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
