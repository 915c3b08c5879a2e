"""Decides whether a request can be fulfilled, and fills in every default. Pure: looks nothing up, draws no seed.

Finds all field errors before it raises any. Numbers are only rounded to what the model supports, and that is reported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from phoenix.catalog import resolve, transitions
from phoenix.catalog.load import Catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import Size
from phoenix.catalog.transitions import ValidationReport
from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.requests import ReelRequest, SoundtrackJobRequest, StitchRequest
from phoenix.contract.resolved import ResolvedClip, ResolvedReel, ResolvedSoundtrack, ResolvedStitch


@dataclass(frozen=True)
class AdmissionLimits:
    max_reel_duration_s: float = 600


SEED_SPACE = 2**32

KnownMedia = Mapping[str, MediaInfo]
"""Media info of the caller's own artifacts, by id. References to others are field errors."""


def admit_reel(
    request: ReelRequest,
    catalog: Catalog,
    *,
    default_model: str,
    limits: AdmissionLimits,
    draw_seed: Callable[[], int],
    media: KnownMedia | None = None,
) -> ResolvedReel:
    """The reel as it will be rendered. Raises `InvalidRequest` with all of its field errors.

    `draw_seed` is called once if the reel has no seed. Without `media`, references are not checked.
    """
    report = ValidationReport()
    model = _find_model(request.model or default_model, catalog, report)
    if model is None:
        report.raise_errors()
        raise AssertionError("an unknown model is a field error")
    resolution, aspect_ratio, size = resolve.resolve_size(request, model, report)
    fps = resolve.resolve_fps(request, model, report)
    reel_seed = request.seed if request.seed is not None else draw_seed()
    clips = [
        _resolve_clip(request, index, model, report, size=size, fps=fps, seed=(reel_seed + index) % SEED_SPACE)
        for index in range(len(request.clips))
    ]
    _check_length([clip.duration_s for clip in clips], request, report, limits, pointer="/clips")
    if media is not None:
        transitions.check_images(request, media, report)
        transitions.check_soundtrack(request.soundtrack, media, report, pointer="/soundtrack")
    report.raise_errors()
    return ResolvedReel(
        is_remote=model.is_remote,
        model=model.id,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        width=size.width,
        height=size.height,
        fps=fps,
        clips=clips,
        transition=request.transition,
        soundtrack=request.soundtrack,
        adjustments=report.adjustments,
    )


def admit_stitch(request: StitchRequest, *, limits: AdmissionLimits, media: KnownMedia | None = None) -> ResolvedStitch:
    """The stitch as it will be joined. Raises `InvalidRequest`. Lengths and kinds are checked only with `media`."""
    report = ValidationReport()
    if media is not None:
        lengths_s = transitions.video_lengths(request, media, report)
        _check_length(lengths_s, request, report, limits, pointer="/artifact_ids")
        transitions.check_soundtrack(request.soundtrack, media, report, pointer="/soundtrack")
    report.raise_errors()
    return ResolvedStitch(
        artifact_ids=list(request.artifact_ids), transition=request.transition, soundtrack=request.soundtrack
    )


def admit_soundtrack(request: SoundtrackJobRequest, *, media: KnownMedia | None = None) -> ResolvedSoundtrack:
    """The soundtrack as it will be prepared. Raises `InvalidRequest` with all of its field errors."""
    report = ValidationReport()
    if request.duration_s is not None:
        transitions.check_fades(request.source, request.duration_s, report, pointer="/source")
    if media is not None:
        transitions.check_soundtrack(request.source, media, report, pointer="/source")
    report.raise_errors()
    return ResolvedSoundtrack(source=request.source, duration_s=request.duration_s)


def _find_model(model_id: str, catalog: Catalog, report: ValidationReport) -> ModelSpec | None:
    model = catalog.find(model_id)
    if model is None:
        known = ", ".join(spec.id for spec in catalog)
        report.add_error("/model", f"there is no model {model_id!r} here; choose one of: {known}")
    return model


def _resolve_clip(
    request: ReelRequest,
    index: int,
    model: ModelSpec,
    report: ValidationReport,
    *,
    size: Size,
    fps: int,
    seed: int,
) -> ResolvedClip:
    clip = request.clips[index]
    resolve.check_image(clip, index, model, report)
    negative = clip.negative_prompt if clip.negative_prompt is not None else request.negative_prompt
    return ResolvedClip(
        index=index,
        prompt=clip.prompt,
        negative_prompt=negative or "",
        seed=seed if clip.seed is None else clip.seed,
        steps=resolve.resolve_steps(request, index, model, report),
        guidance_scale=resolve.resolve_guidance(request, index, model, report),
        width=size.width,
        height=size.height,
        fps=fps,
        num_frames=resolve.resolve_frames(request, index, model, report, fps=fps),
        image_artifact_id=clip.image_artifact_id,
        deterministic=request.deterministic,
    )


def _check_length(
    lengths_s: list[float],
    request: ReelRequest | StitchRequest,
    report: ValidationReport,
    limits: AdmissionLimits,
    *,
    pointer: str,
) -> None:
    if not lengths_s:
        return
    transitions.check_crossfade(request.transition, lengths_s, report)
    total_s = transitions.joined_length_s(request.transition, lengths_s)
    if total_s > limits.max_reel_duration_s + 1e-6:
        report.add_error(
            pointer,
            f"the result would be {total_s:.4g} s long and this server makes at most"
            f" {limits.max_reel_duration_s:g} s; use fewer or shorter clips",
        )
    if request.soundtrack is not None:
        transitions.check_fades(request.soundtrack, total_s, report, pointer="/soundtrack")
