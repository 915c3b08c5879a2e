"""Resolves how the frames of a reel are enlarged, how the frames between them are made, and how lips move. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.postprocessors import POWERS_OF_TWO, InterpolatorSpec
from phoenix.catalog.resolve import FrameRates, Size, ValidationReport, resolve_fps
from phoenix.catalog.stored_entries import store_postprocessor
from phoenix.clock import plain_number
from phoenix.contract import (
    MAX_FPS,
    ClipLipsync,
    ClipRequest,
    FaceRegion,
    ReelRequest,
    ResolvedClip,
    ResolvedClipLips,
    ResolvedUpscale,
    StoredEntry,
    UpscaleRequest,
)


def resolve_upscale(
    request: ReelRequest, catalog: Catalog, report: ValidationReport, *, made: Size, max_frame_pixels: int
) -> ResolvedUpscale | None:
    """The upscaler, and the size of the result. `made` is the size that the model makes."""
    asked = request.upscale
    if asked is None:
        return None
    spec = catalog.upscalers.get(asked.id)
    if spec is None:
        report.add_error(
            "/upscale/id", f"there is no upscaler {asked.id!r} here; there are: {_list(catalog.upscalers)}"
        )
        return None
    scale = spec.factor if asked.scale is None else asked.scale
    pointer = "/upscale/id" if asked.scale is None else "/upscale/scale"
    if scale > spec.factor:
        report.add_error(pointer, f"{spec.id} makes a picture at most {spec.factor} times as wide and as high")
        return None
    size = _scaled(made, asked, scale, report)
    if size.width * size.height > max_frame_pixels:
        report.add_error(
            pointer,
            f"the result would have {size} pixels, and this server makes at most {max_frame_pixels} pixels a frame;"
            " ask for a smaller scale or resolution",
        )
    return ResolvedUpscale(id=spec.id, scale=scale, width=size.width, height=size.height)


def _scaled(made: Size, asked: UpscaleRequest, scale: float, report: ValidationReport) -> Size:
    """H.264 needs even sides."""
    exact = [side * Fraction(str(scale)) for side in made]
    size = Size(*(2 * int(side / 2 + Fraction(1, 2)) for side in exact))
    if list(size) != exact:
        report.add_adjustment(
            "/upscale/scale",
            requested=f"{plain_number(scale)} ({plain_number(float(exact[0]))}x{plain_number(float(exact[1]))})",
            resolved=str(size),
            reason=f"{asked.id} enlarges {made}, and the sides of a video are even",
        )
    return size


def resolve_rates(request: ReelRequest, model: ModelSpec, catalog: Catalog, report: ValidationReport) -> FrameRates:
    """The rates with `interpolate`: the model makes its default rate, and the result has a higher one."""
    if request.interpolate is None:
        return resolve_fps(request, model, report)
    made = model.fps.default
    shown = 2 * made if request.fps is None else request.fps
    rates = FrameRates(made, shown)
    spec = catalog.interpolators.get(request.interpolate)
    if spec is None:
        known = _list(catalog.interpolators)
        report.add_error("/interpolate", f"there is no interpolator {request.interpolate!r} here; there are: {known}")
    elif problem := _explain_rates(rates, model, spec):
        report.add_error("/interpolate" if request.fps is None else "/fps", problem)
    return rates


def _explain_rates(rates: FrameRates, model: ModelSpec, spec: InterpolatorSpec) -> str | None:
    if rates.shown <= rates.made:
        return f"{model.id} makes {rates.made} fps before interpolation; ask for more, or leave out interpolate"
    if rates.shown > MAX_FPS:
        return f"twice the {rates.made} fps of {model.id} are more than {MAX_FPS}; give fps, or leave out interpolate"
    if not spec.any_time and rates.shown not in {rates.made * factor for factor in POWERS_OF_TWO}:
        possible = [rates.made * factor for factor in POWERS_OF_TWO if rates.made * factor <= MAX_FPS]
        return f"{spec.id} makes {_list(map(str, possible))} fps of the {rates.made} fps of {model.id}"
    return None


def store_postprocessors(clips: Iterable[ResolvedClip], catalog: Catalog) -> dict[str, StoredEntry]:
    """The entries of what changes the frames of the clips, by id."""
    used = sorted({spec_id for clip in clips for spec_id in clip.postprocessors})
    return {spec.id: store_postprocessor(spec) for spec in catalog.frame_changers if spec.id in used}


@dataclass(frozen=True)
class LipRules:
    """What this server can do for the lips of clips. `finds_faces`: whether its workers have a face detector."""

    default_model: str
    finds_faces: bool


def resolve_lips(
    request: ReelRequest, model: ModelSpec, catalog: Catalog, report: ValidationReport, *, size: Size, rules: LipRules
) -> list[ResolvedClipLips | None]:
    """How the lips of each clip move. `size` is the size of the files of the clips."""
    if request.fit_narration and any(clip.lip_sync and _says(clip.narration) for clip in request.clips):
        report.add_error(
            "/fit_narration",
            "the lips of a clip with lip_sync would stand still while its last frame is held; leave fit_narration out,"
            " and give the clip the length of its narration",
        )
    return [
        None
        if clip.lip_sync is None
        else _resolve_lips(clip, clip.lip_sync, index, model, catalog, report, size, rules)
        for index, clip in enumerate(request.clips)
    ]


def _resolve_lips(
    clip: ClipRequest,
    asked: ClipLipsync,
    index: int,
    model: ModelSpec,
    catalog: Catalog,
    report: ValidationReport,
    size: Size,
    rules: LipRules,
) -> ResolvedClipLips | None:
    pointer, wanted = f"/clips/{index}/lip_sync", asked.model or rules.default_model
    if wanted not in catalog.lip_models:
        known = _list(catalog.lip_models)
        report.add_error(f"{pointer}/model", f"there is no lip model {wanted!r} here; choose one of: {known}")
    follows = _find_followed(clip, model, report, pointer)
    box = asked.box or (puppet_face(size) if model.engine == "animatic" else None)
    if box is None and not rules.finds_faces:
        report.add_error(f"{pointer}/box", "this server has no face detector; give the box of the face")
    if box is not None and (box.x + box.width > size.width or box.y + box.height > size.height):
        report.add_error(f"{pointer}/box", f"the box leaves the clip, which is {size}; give a box inside it")
    return None if follows is None else ResolvedClipLips(model=wanted, box=box, follows=follows)


def _find_followed(
    clip: ClipRequest, model: ModelSpec, report: ValidationReport, pointer: str
) -> Literal["narration", "audio"] | None:
    """What the lips of the clip say. None, and reported, if that is nothing or two things."""
    has_audio = any(condition.role == "audio" for condition in clip.conditions)
    is_led = has_audio and "audio" in model.conditions
    if _says(clip.narration) and has_audio and not is_led:
        report.add_error(pointer, "the lips follow the narration or the audio of the clip; leave one of them out")
    elif _says(clip.narration):
        return "narration"
    elif is_led:
        report.add_error(pointer, f"{model.id} moves the lips by its audio itself; leave lip_sync out")
    elif has_audio:
        return "audio"
    else:
        detail = "the lips need something to say: give the clip a narration, or a condition with the role audio"
        report.add_error(pointer, detail)
    return None


def _says(narration: str | None) -> bool:
    return bool((narration or "").strip())


def puppet_face(size: Size) -> FaceRegion:
    """Where the animatic draws the face of its puppet if the request names no box: above its caption."""
    height = min(0.44 * size.height, 0.75 * size.width)
    width = 0.8 * height
    return FaceRegion(
        x=round((size.width - width) / 2),
        y=round(0.13 * size.height),
        width=max(16, round(width)),
        height=max(16, round(height)),
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
