"""Decides whether a request can be fulfilled, and fills in every default. Pure: the caller looks up media and seeds.

All field errors are found before any is raised. A number is only changed by rounding it to a value that the model
supports, and each rounding is reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from phoenix.catalog import resolve
from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.catalog import Catalog
from phoenix.catalog.clip_adapters import check_quality, resolve_loras
from phoenix.catalog.clip_postprocessing import (
    LipRules,
    resolve_lips,
    resolve_rates,
    resolve_upscale,
    store_postprocessors,
)
from phoenix.catalog.conditions import (
    ClipLength,
    KnownClips,
    KnownFiles,
    KnownMedia,
    begin_with_extended,
    check_files,
    explain_missing_clip,
    find_artifact,
    resolve_conditions,
    resolve_extension,
)
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import FrameRates, Size, ValidationReport
from phoenix.catalog.stored_entries import store_adapter, store_entry
from phoenix.clock import in_seconds
from phoenix.contract import (
    MAX_CLIPS,
    TAKE_SEED_STEP,
    MediaInfo,
    Quality,
    ReelRequest,
    ResolvedClip,
    ResolvedClipLips,
    ResolvedReel,
    ResolvedSoundtrack,
    ResolvedStitch,
    ResolvedUpscale,
    SoundSource,
    SoundtrackJobRequest,
    StitchRequest,
    StoredEntry,
    Transition,
)


@dataclass(frozen=True)
class AdmissionLimits:
    """The server's own limits on a request."""

    max_reel_duration_s: float = 600
    max_frame_pixels: int = 33_177_600
    default_lip_model: str = "drawn-mouth"
    finds_faces: bool = False
    """Whether the workers have a face detector."""

    @property
    def of_lips(self) -> LipRules:
        return LipRules(self.default_lip_model, self.finds_faces)


SEED_SPACE = 2**32
_TOLERANCE_S = 1e-6
_NO_CLIPS: KnownClips = {}
_AS_GIVEN = ("transition", "soundtrack", "clip_sound", "captions", "fit_narration", "on_failed_check")


def admit_reel(
    request: ReelRequest,
    catalog: Catalog,
    *,
    default_model: str,
    limits: AdmissionLimits,
    draw_seed: Callable[[], int],
    media: KnownMedia | None = None,
    finished_clips: KnownClips | None = _NO_CLIPS,
) -> ResolvedReel:
    """The reel as it will be rendered. Raises `InvalidRequest` with all of its field errors.

    `draw_seed` is called once if the reel has no seed. Files are not checked if `media` or `finished_clips` is None.
    """
    report, files = ValidationReport(), KnownFiles(media or {}, finished_clips)
    if media is not None:
        _check_references(request, files, report)
    model = _get_model(request.model or default_model, catalog, report)
    quality, adapters = check_quality(request, model, report), catalog.adapters_of(model)
    model = model.at_quality(quality)
    request = begin_with_extended(request, model, report)
    resolution, aspect_ratio, size = resolve.resolve_size(request, model, report)
    rates = resolve_rates(request, model, catalog, report)
    upscale = resolve_upscale(request, catalog, report, made=size, max_frame_pixels=limits.max_frame_pixels)
    shown = size if upscale is None else Size(upscale.width, upscale.height)
    lips = resolve_lips(request, model, catalog, report, size=shown, rules=limits.of_lips)
    seed = draw_seed() if request.seed is None else request.seed
    terms = _Terms(request, model, quality, adapters, size, rates, upscale, lips, seed, files)
    clips = _resolve_clips(terms, report)
    reel = ResolvedReel(
        is_remote=model.is_remote,
        model=model.id,
        quality=quality,
        entry=store_entry(model),
        adapters=_store_adapters(clips, adapters),
        postprocessors=store_postprocessors(clips, catalog),
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        width=shown.width,
        height=shown.height,
        fps=rates.shown,
        extends=request.extends and resolve_extension(request.extends, files, report, size=shown, fps=rates.shown),
        clips=clips,
        takes=_resolve_takes(clips, report),
        **{name: getattr(request, name) for name in _AS_GIVEN},
        adjustments=report.adjustments,
    )
    _check_length(reel.part_lengths_s, request, report, limits, pointer="/clips")
    report.raise_errors()
    return reel


def admit_stitch(request: StitchRequest, *, limits: AdmissionLimits, media: KnownMedia | None = None) -> ResolvedStitch:
    """The stitch as it will be joined. Raises `InvalidRequest`. Lengths and kinds are checked if `media` is given."""
    report = ValidationReport()
    if media is not None:
        lengths_s = _video_lengths(request, media, report)
        _check_length(lengths_s, request, report, limits, pointer="/artifact_ids")
        _check_soundtrack(request.soundtrack, media, report, pointer="/soundtrack")
    report.raise_errors()
    return ResolvedStitch(
        artifact_ids=list(request.artifact_ids),
        transition=request.transition,
        soundtrack=request.soundtrack,
        clip_sound=request.clip_sound,
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


def _get_model(model_id: str, catalog: Catalog, report: ValidationReport) -> ModelSpec:
    """Raises `InvalidRequest` with all errors so far for an unknown model: the other checks need its entry."""
    model = catalog.find(model_id)
    if model is None:
        known = ", ".join(spec.id for spec in catalog)
        report.add_error("/model", f"there is no model {model_id!r} here; choose one of: {known}")
        report.raise_errors()
        raise AssertionError("an unknown model is a field error")
    return model


def _check_references(request: ReelRequest, files: KnownFiles, report: ValidationReport) -> None:
    for index, clip in enumerate(request.clips):
        check_files(clip, index, files, report)
    if request.extends is not None and files.lacks(request.extends):
        report.add_error("/extends", explain_missing_clip(request.extends))
    _check_soundtrack(request.soundtrack, files.media, report, pointer="/soundtrack")


@dataclass(frozen=True)
class _Terms:
    """What all clips of a reel have in common."""

    request: ReelRequest
    model: ModelSpec
    quality: Quality
    adapters: Mapping[str, AdapterSpec]
    size: Size
    rates: FrameRates
    upscale: ResolvedUpscale | None
    lips: Sequence[ResolvedClipLips | None]
    reel_seed: int
    files: KnownFiles


def _resolve_clips(terms: _Terms, report: ValidationReport) -> list[ResolvedClip]:
    clips: list[ResolvedClip] = []
    for index in range(len(terms.request.clips)):
        clips.append(_resolve_clip(terms, index, report, previous=clips[-1] if clips else None))
    return clips


def _resolve_clip(
    terms: _Terms, index: int, report: ValidationReport, *, previous: ResolvedClip | None
) -> ResolvedClip:
    request, model, rates = terms.request, terms.model, terms.rates
    clip = request.clips[index]
    num_frames = resolve.resolve_frames(request, index, model, report, fps=rates.made)
    steps = resolve.resolve_steps(request, index, model, report)
    guidance_scale = resolve.resolve_guidance(request, index, model, report)
    take = clip.take or 0
    first_seed = terms.reel_seed + index if clip.seed is None else clip.seed
    return ResolvedClip(
        index=index,
        prompt=clip.prompt,
        negative_prompt=resolve.resolve_negative_prompt(request, index, model, report, guidance_scale=guidance_scale),
        seed=(first_seed + take * TAKE_SEED_STEP) % SEED_SPACE,
        take=take,
        takes=clip.takes or 1,
        steps=steps,
        guidance_scale=guidance_scale,
        width=terms.size.width,
        height=terms.size.height,
        fps=rates.made,
        num_frames=num_frames,
        output_fps=None if rates.made == rates.shown else rates.shown,
        upscale=terms.upscale,
        interpolate=request.interpolate,
        lip_sync=terms.lips[index],
        loras=resolve_loras(request, index, model, terms.adapters, report, quality=terms.quality),
        conditions=resolve_conditions(
            clip,
            index,
            model,
            report,
            length=ClipLength(num_frames, rates.made),
            files=terms.files,
            previous=previous and _expected_media(previous, model),
        ),
        deterministic=request.deterministic,
        caption=(clip.caption or "").strip(),
        narration=(clip.narration or "").strip(),
        keeps_sound=request.clip_sound == "keep",
    )


def _resolve_takes(clips: Sequence[ResolvedClip], report: ValidationReport) -> list[ResolvedClip]:
    """The takes that the reel does not show: clips like the shown take, with other seeds."""
    takes: list[ResolvedClip] = []
    for clip in clips:
        for take in range(clip.takes):
            if take != clip.take:
                seed = (clip.seed + (take - clip.take) * TAKE_SEED_STEP) % SEED_SPACE
                changes = {"index": len(clips) + len(takes), "take": take, "take_of": clip.index, "seed": seed}
                takes.append(clip.model_copy(update=changes))
    if len(clips) + len(takes) > MAX_CLIPS:
        count = len(clips) + len(takes)
        report.add_error("/clips", f"a reel has at most {MAX_CLIPS} takes of all its clips, and these are {count}")
    return takes


def _store_adapters(clips: Sequence[ResolvedClip], adapters: Mapping[str, AdapterSpec]) -> dict[str, StoredEntry]:
    used = sorted({lora.id for clip in clips for lora in clip.loras})
    return {adapter_id: store_adapter(adapters[adapter_id]) for adapter_id in used}


def _expected_media(clip: ResolvedClip, model: ModelSpec) -> MediaInfo:
    """What the file of the clip will be."""
    has_sound = model.makes_sound and clip.keeps_sound
    return MediaInfo(
        media="video",
        format="mp4",
        duration_s=clip.duration_s,
        video_duration_s=clip.duration_s,
        audio_duration_s=clip.duration_s if has_sound else None,
        audio_codec="aac" if has_sound else None,
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


def _check_fades(sound: SoundSource, length_s: float, report: ValidationReport, *, pointer: str) -> None:
    """Checks that both fades fit into `length_s`, the seconds of the result."""
    fades_s = sound.fade_in_s + sound.fade_out_s
    if fades_s > length_s + _TOLERANCE_S:
        name = "fade_out_s" if sound.fade_out_s else "fade_in_s"
        report.add_error(
            f"{pointer}/{name}",
            f"the fades take {in_seconds(fades_s)} and the result is {in_seconds(length_s)} long; shorten them",
        )


def _check_soundtrack(
    sound: SoundSource | None, media: Mapping[str, MediaInfo], report: ValidationReport, *, pointer: str
) -> None:
    """Checks that the artifact exists, has sound, and does not end before `start_s`."""
    if sound is None or sound.artifact_id is None:
        return
    info = find_artifact(sound.artifact_id, media, report, pointer=f"{pointer}/artifact_id")
    if info is None:
        return
    length_s = resolve.sound_length_s(info)
    if info.media == "image" or (info.media == "video" and info.audio_codec is None):
        report.add_error(f"{pointer}/artifact_id", "this artifact has no sound; give an artifact with sound")
    elif length_s is not None and sound.start_s >= length_s:
        report.add_error(f"{pointer}/start_s", f"the sound is {in_seconds(length_s)} long; begin before its end")


def _video_lengths(request: StitchRequest, media: Mapping[str, MediaInfo], report: ValidationReport) -> list[float]:
    """Seconds of the picture of each video, in order; empty if the length of any picture is unknown."""
    lengths_s: list[float] = []
    for index, artifact_id in enumerate(request.artifact_ids):
        pointer = f"/artifact_ids/{index}"
        info = find_artifact(artifact_id, media, report, pointer=pointer)
        if info is not None and info.media != "video":
            report.add_error(pointer, f"this artifact is {info.media}; give a video")
        length_s = None if info is None else resolve.picture_length_s(info)
        if length_s is not None:
            lengths_s.append(length_s)
    return lengths_s if len(lengths_s) == len(request.artifact_ids) else []
