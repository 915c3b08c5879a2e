"""Converts between the videos of others' protocols and Phoenix's reels and jobs. Pure."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import Size, fit_size, floor_frames, longest_s, shortest_s
from phoenix.catalog.rules import SizeRule
from phoenix.clock import plain_number
from phoenix.contract import (
    AspectRatio,
    ClipRequest,
    ClipSource,
    ConditionRole,
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
from phoenix.contract.videos import VideoModel
from phoenix.errors import Conflict, FieldError, InvalidRequest
from phoenix.jobs.submission.edits import as_requested
from phoenix.settings import VideosSettings

NamedSizes = dict[Size, tuple[Resolution, AspectRatio]]


def name_sizes(rule: SizeRule) -> NamedSizes:
    """The name of every size that the model makes. If a size has two names, the first in the catalog's order counts."""
    named: NamedSizes = {}
    for resolution, aspect_ratio in product(rule.resolutions, rule.aspect_ratios):
        named.setdefault(fit_size(rule, resolution, aspect_ratio), (resolution, aspect_ratio))
    return named


@lru_cache(maxsize=512)
def _sizes_of(catalog: Catalog, model_id: str) -> NamedSizes:
    """`name_sizes` of a model, calculated once: it takes as long as a third of a request."""
    return name_sizes(catalog.get(model_id).size)


TITLE_KEY = "video_prompt"
"""Metadata key: the prompt of a video that was made of `clips`."""

REMIXED_KEY = "video_remixed_from"
"""Metadata key: id of the original of a remix."""

ROUTED_KEY = "video_protocol"
"""Metadata key: `openrouter` for a video that was asked for in OpenRouter's form."""

USER_KEY = "video_user"
"""Metadata key: what the field `user` of the request was."""

_STATUSES: dict[JobState, VideoStatus] = {
    JobState.HELD: "queued",
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
}
_ROUTED_STATUSES: dict[JobState, VideoStatus] = {
    **_STATUSES,
    JobState.HELD: "pending",
    JobState.QUEUED: "pending",
    JobState.CANCELED: "cancelled",
    JobState.EXPIRED: "expired",
}
_ROUTED_FIELDS = {"duration_s": "duration", "resolution": "resolution", "aspect_ratio": "aspect_ratio"}
_FRAMES: tuple[Literal["first_frame"], Literal["last_frame"]] = ("first_frame", "last_frame")
_EXTRA_FIELDS = ["fps", "guidance_scale", "interpolate", "loras", "negative_prompt", "quality", "steps", "upscale"]
_SHARED = {
    "model",
    "resolution",
    "aspect_ratio",
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


def with_known_names(request: VideoRequest, settings: VideosSettings) -> VideoRequest:
    """The request with the model and the size that the settings have for its names."""
    named = {"model": settings.models.get(request.model or ""), "size": settings.sizes.get(request.size or "")}
    return request.model_copy(update={name: value for name, value in named.items() if value is not None})


def to_reel(request: VideoRequest, pictures: Mapping[str, str], catalog: Catalog, *, default_model: str) -> ReelRequest:
    """The reel that this video is. `find_form_errors` has found no error. `pictures`: artifact ids by their places."""
    clip: dict[str, Any] = {"prompt": request.prompt}
    conditions = [
        {"role": role, "source": {"artifact_id": artifact_id}}
        for _, role, artifact_id in _list_conditions(request, pictures)
    ]
    if conditions:
        clip["conditions"] = conditions
    reel = request.model_dump(include=_SHARED, exclude_unset=True, exclude_none=True)
    if request.clips is None:
        reel["clips"] = [clip]
    else:
        reel["clips"] = [one.model_dump(exclude_unset=True) for one in request.clips]
    if metadata := _metadata_of(request):
        reel["metadata"] = metadata
    if (length_s := request.seconds or request.duration) is not None:
        reel["duration_s"] = length_s
    if request.generate_audio is False:
        reel["clip_sound"] = "drop"
    if request.callback_url is not None:
        reel["webhook"] = {"url": str(request.callback_url)}
    model = catalog.find(request.model or default_model)
    if request.size is not None and model is not None:
        resolution, aspect_ratio = _sizes_of(catalog, model.id)[_parse_size(request.size)]
        reel |= {"resolution": resolution, "aspect_ratio": aspect_ratio}
    return ReelRequest.model_validate(reel)


def _list_conditions(request: VideoRequest, pictures: Mapping[str, str]) -> Iterator[tuple[str, ConditionRole, str]]:
    """The place, the role and the artifact id of each picture, in the order of the clip's conditions."""
    named = request.input_reference and request.input_reference.file_id
    if (first := pictures.get("/input_reference", named)) is not None:
        yield "/input_reference", "first_frame", first
    for index, frame in enumerate(request.frame_images or ()):
        yield (place := f"/frame_images/{index}"), frame.frame_type, pictures[place]
    for index, _ in enumerate(request.input_references or ()):
        yield (place := f"/input_references/{index}"), "reference", pictures[place]


def _metadata_of(request: VideoRequest) -> dict[str, str]:
    known = {
        TITLE_KEY: request.prompt[:512] if request.clips is not None else None,
        ROUTED_KEY: "openrouter" if request.is_routed else None,
        USER_KEY: request.user,
    }
    return {key: value for key, value in known.items() if value is not None}


def explain_in_form(request: VideoRequest, pictures: Mapping[str, str], error: FieldError) -> FieldError:
    """An error of the reel as an error of the form that was sent: its pointer begins with `#`, or stays as it is."""
    if request.clips is None and (match := re.match(r"/clips/0/conditions/([0-9]+)", error.pointer)):
        places = [place for place, _, _ in _list_conditions(request, pictures)]
        return FieldError(f"#{places[int(match[1])]}", error.detail)
    if error.pointer == "/clips/0/conditions" and request.is_routed:
        return FieldError("#/frame_images", error.detail)
    if error.pointer == "/webhook/url":
        return FieldError("#/callback_url", error.detail)
    field = _ROUTED_FIELDS.get(error.pointer.rpartition("/")[2])
    if field is not None and field in request.model_fields_set:
        return FieldError(f"#/{field}", error.detail)
    return error


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
    reel = completed_reel(job, done)
    if len(reel.clips) > 1 or TITLE_KEY in job.metadata:
        raise InvalidRequest("This video was made of `clips`; make a new one with the clips as you want them.")
    return as_requested(reel, catalog), reel.clips[0].index


def completed_reel(job: Job, done: str) -> ResolvedReel:
    """The reel of a completed video. Raises `Conflict` for any other one; `done` is what was asked for."""
    if job.state is not JobState.SUCCEEDED:
        raise Conflict(f"The video is {_STATUSES.get(job.state, 'failed')}; only a completed one can be {done}.")
    assert isinstance(job.request, ResolvedReel), "only reels are videos"
    return job.request


@dataclass(frozen=True)
class SourceVideo:
    """A video that is edited."""

    artifact_id: str
    width: int
    height: int
    duration_s: float


def to_edit(source: SourceVideo, prompt: str, model: ModelSpec) -> ReelRequest:
    """A video of the model that shows what the prompt says and moves like the source, in the size most alike."""
    fps = model.fps.default
    # At most as long as the source: a model that changes a video reads a frame of it for each of its own.
    frames = floor_frames(model.frames, round(min(source.duration_s, longest_s(model.frames, fps)) * fps, 3))
    (_, (resolution, aspect_ratio)) = min(name_sizes(model.size).items(), key=lambda named: _unlike(source, named[0]))
    return ReelRequest(
        model=model.id,
        clips=[
            ClipRequest.model_validate(
                {
                    "prompt": prompt,
                    "duration_s": frames / fps,
                    "conditions": [{"role": "source_video", "source": {"artifact_id": source.artifact_id}}],
                }
            )
        ],
        resolution=resolution,
        aspect_ratio=aspect_ratio,
    )


def _unlike(source: SourceVideo, size: Size) -> tuple[float, float]:
    ratios = math.log(source.width / source.height * size.height / size.width)
    return round(abs(ratios), 2), abs(math.log(source.width * source.height / (size.width * size.height)))


def choose_editor(wanted: str | None, made_by: str | None, catalog: Catalog, settings: VideosSettings) -> ModelSpec:
    """The model of an edit. `made_by`: the model of the source. Raises `InvalidRequest` with the models that edit."""
    able = {model.id: model for model in catalog if is_editor(model)}
    name = settings.models.get(wanted or "", wanted) or (made_by if made_by in able else settings.edit_model)
    if name in able:
        return able[name]
    others = ", ".join(able) or "none of this server does"
    if name is None:
        detail = f"name a model that changes videos: {others}; or send POST /v1/videos/{{video_id}}/remix"
    else:
        detail = f"{name} changes no videos; name one that does: {others}"
    raise InvalidRequest.from_field_errors([FieldError("#/model", detail)])


def is_editor(model: ModelSpec) -> bool:
    """Whether the model changes a video by its prompt alone. Others continue a video, or need a mask, too."""
    rule = model.conditions.get("source_video")
    needed = [role for role, other in model.conditions.items() if other.minimum and role != "source_video"]
    return rule is not None and rule.overlap_s is None and not rule.requires and not needed


def find_form_errors(request: VideoRequest, catalog: Catalog, *, default_model: str) -> list[FieldError]:
    """The errors of what has no counterpart in a reel. None for an unknown model, which admission reports."""
    model = catalog.find(request.model or default_model)
    if model is None:
        return []
    errors: list[FieldError] = []
    if request.size is not None and _parse_size(request.size) not in (sizes := _sizes_of(catalog, model.id)):
        made = ", ".join(map(str, sorted(sizes)))
        errors.append(FieldError("/size", f"{model.id} makes {made}; choose one of them"))
    if request.generate_audio and not model.makes_sound:
        detail = f"{model.id} makes no sound; send false or leave it out"
        errors.append(FieldError("/generate_audio", detail))
    return errors


def _parse_size(size: str) -> Size:
    width, _, height = size.partition("x")
    return Size(int(width), int(height))


def job_id_of(video_id: str) -> str:
    return "job_" + video_id.removeprefix("video_")


def video_id_of(job_id: str) -> str:
    return "video_" + job_id.removeprefix("job_")


def view_video(job: Job, *, base_url: str = "", in_list: bool = False) -> Video:
    """The job of a reel as a video. `base_url`: of the server. In a list, every video has OpenAI's form."""
    reel = job.request
    assert isinstance(reel, ResolvedReel), "only reels are videos"
    is_done = job.state is JobState.SUCCEEDED and job.finished_at is not None
    is_routed = ROUTED_KEY in job.metadata and not in_list
    seconds = job.output.duration_s if job.output else sum(reel.part_lengths_s)
    error = _view_error(job)
    file_url = job.output and job.output.signed_url
    return Video(
        id=video_id_of(job.id),
        model=reel.model,
        status=(_ROUTED_STATUSES if is_routed else _STATUSES).get(job.state, "failed"),
        progress=100 if is_done else int(job.progress * 100),
        created_at=int(job.created_at.timestamp()),
        completed_at=int(job.finished_at.timestamp()) if is_done and job.finished_at else None,
        error=error.message if is_routed and error else error,
        prompt=job.metadata.get(TITLE_KEY, reel.clips[0].prompt),
        remixed_from_video_id=job.metadata.get(REMIXED_KEY),
        seconds=plain_number(round(seconds, 3)),
        size=f"{reel.width}x{reel.height}",
        polling_url=f"{base_url}/v1/videos/{video_id_of(job.id)}",
        # Without a public URL in the settings, a signed URL is a path.
        unsigned_urls=[f"{base_url}{file_url}" if file_url.startswith("/") else file_url] if file_url else [],
    )


def _view_error(job: Job) -> VideoError | None:
    """The error of a job that did not succeed. The SDKs know one failed status, and poll on at an unknown status."""
    if job.state is JobState.CANCELED:
        return VideoError(code="cancelled", message="The job was canceled.")
    if job.error is None or job.state not in (JobState.FAILED, JobState.EXPIRED):
        return None
    code = "expired" if job.state is JobState.EXPIRED else job.error.code.lower()
    return VideoError(code=code, message=job.error.message)


def list_models(catalog: Catalog, settings: VideosSettings) -> list[VideoModel]:
    """Every model by its id and by the names that the settings have for it."""
    known = [(model.id, model) for model in catalog]
    known += [(name, model) for name, wanted in settings.models.items() if (model := catalog.find(wanted))]
    return [_view_model(name, model) for name, model in known]


def _view_model(name: str, model: ModelSpec) -> VideoModel:
    shortest, longest = shortest_s(model.frames, model.fps.default), longest_s(model.frames, model.fps.default)
    return VideoModel(
        id=name,
        canonical_slug=model.id,
        name=model.title,
        description=model.description,
        created=0,
        supported_resolutions=list(model.size.resolutions),
        supported_aspect_ratios=list(model.size.aspect_ratios),
        supported_sizes=[str(size) for size in sorted(name_sizes(model.size))],
        supported_durations=list(range(max(1, math.ceil(shortest)), math.floor(longest) + 1)),
        supported_frame_images=[role for role in _FRAMES if role in model.conditions],
        generate_audio=model.makes_sound,
        seed=True,
        allowed_passthrough_parameters=_EXTRA_FIELDS,
    )
