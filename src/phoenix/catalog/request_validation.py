"""Decides whether a request can be fulfilled, and fills in every default. Pure: the caller looks up media and seeds.

All field errors are found before any is raised. A number is only changed by rounding it to a value that the model
supports, and each rounding is reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from phoenix.catalog import resolve
from phoenix.catalog.model import Catalog, ModelSpec
from phoenix.catalog.resolve import Size, ValidationReport
from phoenix.clock import in_seconds
from phoenix.contract import (
    MediaInfo,
    ReelRequest,
    ResolvedClip,
    ResolvedReel,
    ResolvedSoundtrack,
    ResolvedStitch,
    SoundtrackJobRequest,
    SoundtrackRequest,
    StitchRequest,
    Transition,
)


@dataclass(frozen=True)
class AdmissionLimits:
    """The server's own limits on a request."""

    max_reel_duration_s: float = 600


SEED_SPACE = 2**32
_TOLERANCE_S = 1e-6

KnownMedia = Mapping[str, MediaInfo]
"""Media info of the caller's artifacts by id. A reference to any other artifact is a field error."""


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

    `draw_seed` is called once if the reel has no seed. References are not checked if `media` is None.
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
        _check_images(request, media, report)
        _check_soundtrack(request.soundtrack, media, report, pointer="/soundtrack")
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
    """The stitch as it will be joined. Raises `InvalidRequest`. Lengths and kinds are checked if `media` is given."""
    report = ValidationReport()
    if media is not None:
        lengths_s = _video_lengths(request, media, report)
        _check_length(lengths_s, request, report, limits, pointer="/artifact_ids")
        _check_soundtrack(request.soundtrack, media, report, pointer="/soundtrack")
    report.raise_errors()
    return ResolvedStitch(
        artifact_ids=list(request.artifact_ids), transition=request.transition, soundtrack=request.soundtrack
    )


def admit_soundtrack(request: SoundtrackJobRequest, *, media: KnownMedia | None = None) -> ResolvedSoundtrack:
    """The soundtrack as it will be prepared. Raises `InvalidRequest` with all of its field errors."""
    report = ValidationReport()
    if request.duration_s is not None:
        _check_fades(request.source, request.duration_s, report, pointer="/source")
    if media is not None:
        _check_soundtrack(request.source, media, report, pointer="/source")
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
    _check_crossfade(request.transition, lengths_s, report)
    total_s = resolve.joined_length_s(request.transition, lengths_s)
    if total_s > limits.max_reel_duration_s + _TOLERANCE_S:
        report.add_error(
            pointer,
            f"the result would be {in_seconds(total_s)} long and this server makes at most"
            f" {in_seconds(limits.max_reel_duration_s)}; use fewer or shorter clips",
        )
    if request.soundtrack is not None:
        _check_fades(request.soundtrack, total_s, report, pointer="/soundtrack")


def _check_crossfade(transition: Transition, lengths_s: Sequence[float], report: ValidationReport) -> None:
    """A clip may have a crossfade at each end, so it must be as long as two of them."""
    if transition.kind != "crossfade" or len(lengths_s) < 2:
        return
    longest_s = min(lengths_s) / 2
    if transition.duration_s > longest_s + _TOLERANCE_S:
        report.add_error(
            "/transition/duration_s",
            f"a crossfade takes at most half of the shortest clip, here {in_seconds(longest_s)};"
            " shorten it, lengthen the clips, or use a cut",
        )


def _check_fades(sound: SoundtrackRequest, length_s: float, report: ValidationReport, *, pointer: str) -> None:
    """Checks that both fades fit into `length_s`, the seconds of the result."""
    fades_s = sound.fade_in_s + sound.fade_out_s
    if fades_s > length_s + _TOLERANCE_S:
        name = "fade_out_s" if sound.fade_out_s else "fade_in_s"
        report.add_error(
            f"{pointer}/{name}",
            f"the fades take {in_seconds(fades_s)} and the result is {in_seconds(length_s)} long; shorten them",
        )


def _check_soundtrack(
    sound: SoundtrackRequest | None, media: Mapping[str, MediaInfo], report: ValidationReport, *, pointer: str
) -> None:
    """Checks that the artifact exists, has sound, and does not end before `start_s`."""
    if sound is None or sound.artifact_id is None:
        return
    info = _find_artifact(sound.artifact_id, media, report, pointer=f"{pointer}/artifact_id")
    if info is None:
        return
    length_s = resolve.sound_length_s(info)
    if info.media == "image" or (info.media == "video" and info.audio_codec is None):
        report.add_error(f"{pointer}/artifact_id", "this artifact has no sound; give an artifact with sound")
    elif length_s is not None and sound.start_s >= length_s:
        report.add_error(f"{pointer}/start_s", f"the sound is {in_seconds(length_s)} long; begin before its end")


def _check_images(request: ReelRequest, media: Mapping[str, MediaInfo], report: ValidationReport) -> None:
    """Checks that the first frame of each clip is an image of the caller."""
    for index, clip in enumerate(request.clips):
        if clip.image_artifact_id is None:
            continue
        pointer = f"/clips/{index}/image_artifact_id"
        info = _find_artifact(clip.image_artifact_id, media, report, pointer=pointer)
        if info is not None and info.media != "image":
            report.add_error(pointer, f"this artifact is {info.media}; give an image")


def _video_lengths(request: StitchRequest, media: Mapping[str, MediaInfo], report: ValidationReport) -> list[float]:
    """Seconds of the picture of each video, in order; empty if the length of any picture is unknown."""
    lengths_s: list[float] = []
    for index, artifact_id in enumerate(request.artifact_ids):
        pointer = f"/artifact_ids/{index}"
        info = _find_artifact(artifact_id, media, report, pointer=pointer)
        if info is not None and info.media != "video":
            report.add_error(pointer, f"this artifact is {info.media}; give a video")
        length_s = None if info is None else resolve.picture_length_s(info)
        if length_s is not None:
            lengths_s.append(length_s)
    return lengths_s if len(lengths_s) == len(request.artifact_ids) else []


def _find_artifact(
    artifact_id: str, media: Mapping[str, MediaInfo], report: ValidationReport, *, pointer: str
) -> MediaInfo | None:
    info = media.get(artifact_id)
    if info is None:
        report.add_error(pointer, f"there is no artifact {artifact_id} of yours; upload it first")
    return info
