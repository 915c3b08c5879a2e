"""Resolves how the frames of a reel are enlarged, and how the frames between them are made. Pure."""

from collections.abc import Iterable
from fractions import Fraction

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.postprocessors import POWERS_OF_TWO, InterpolatorSpec
from phoenix.catalog.resolve import FrameRates, Size, ValidationReport, resolve_fps
from phoenix.catalog.stored_entries import store_postprocessor
from phoenix.clock import plain_number
from phoenix.contract import MAX_FPS, ReelRequest, ResolvedClip, ResolvedUpscale, StoredEntry, UpscaleRequest


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
    return {spec.id: store_postprocessor(spec) for spec in catalog.postprocessors if spec.id in used}


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
