"""What the model and this server allow for a storyboard: lengths, shapes and the number of clips. Pure."""

import math
from dataclasses import dataclass

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import ValidationReport, floor_frames, longest_s, nearest_frames, shortest_s
from phoenix.clock import in_seconds
from phoenix.contract import MAX_STORYBOARD_CLIPS, Adjustment, AspectRatio, StoryboardRequest


@dataclass(frozen=True)
class PlanLimits:
    """The request of a storyboard, fitted to its model. Lengths are in seconds."""

    model: ModelSpec
    aspect_ratio: AspectRatio | None
    """None is left to the model."""
    num_clips: int | None
    """The number that was asked for, as far as the server makes such a reel; None if the planner decides."""
    duration_s: float | None
    """The length of each clip that was asked for; None if the planner decides."""
    shortest_s: float
    longest_s: float
    max_clips: int
    max_reel_s: float
    adjustments: tuple[Adjustment, ...]

    def clip_s(self, duration_s: float | None) -> float:
        """The length of a clip that has this length of its own, in seconds."""
        return duration_s or self.duration_s or self.model.frames.default / self.model.fps.default

    def length_s(self, count: int) -> float | None:
        """The length of each of `count` clips for which nothing is said; None for the default of the model."""
        rule, fps = self.model.frames, self.model.fps.default
        if self.duration_s is not None or count * rule.default / fps <= self.max_reel_s:
            return None
        return round(floor_frames(rule, self.max_reel_s / count * fps) / fps, 4)


def fit_request(request: StoryboardRequest, catalog: Catalog, *, default_model: str, max_reel_s: float) -> PlanLimits:
    """The limits for a request. What does not fit is changed to the nearest that fits, and reported.

    Raises `InvalidRequest` for an unknown model, and for a model that renders no clip from a prompt alone.
    """
    report = ValidationReport()
    model = _get_model(request.model or default_model, catalog, report)
    rule, fps = model.frames, model.fps.default
    shortest = _round_up(shortest_s(rule, fps))
    longest = max(shortest, _round_down(min(longest_s(rule, fps), floor_frames(rule, max_reel_s * fps) / fps)))
    duration_s = _fit_duration(request, model, report, shortest=shortest, longest=longest)
    # A clip is a whole number of frames, so many clips may take a little longer than was asked for.
    made_s = shortest_s(rule, fps) if duration_s is None else nearest_frames(rule, duration_s * fps) / fps
    max_clips = max(1, min(MAX_STORYBOARD_CLIPS, math.floor(max_reel_s / made_s + 1e-6)))
    num_clips = _fit_count(request, report, max_clips=max_clips, max_reel_s=max_reel_s)
    return PlanLimits(
        model=model,
        aspect_ratio=_fit_ratio(request, model, report),
        num_clips=num_clips,
        duration_s=duration_s,
        shortest_s=shortest,
        longest_s=longest,
        max_clips=max_clips,
        max_reel_s=max_reel_s,
        adjustments=tuple(report.adjustments),
    )


def _get_model(model_id: str, catalog: Catalog, report: ValidationReport) -> ModelSpec:
    model = catalog.find(model_id)
    of_text = [spec.id for spec in catalog if not spec.needed_roles]
    if model is None:
        report.add_error("/model", f"there is no model {model_id!r} here; choose one of: {', '.join(of_text)}")
    elif model.needed_roles:
        needed = ", ".join(model.needed_roles)
        report.add_error(
            "/model",
            f"each clip of {model_id} needs {needed}, and a storyboard has only prompts; choose another model, and give"
            f" pictures to the clips of its reel",
        )
    report.raise_errors()
    assert model is not None
    return model


def _fit_duration(
    request: StoryboardRequest, model: ModelSpec, report: ValidationReport, *, shortest: float, longest: float
) -> float | None:
    asked = request.duration_s
    if asked is None:
        return None
    fitted = min(max(asked, shortest), longest)
    if fitted != asked:
        report.add_adjustment(
            "/duration_s",
            requested=in_seconds(asked),
            resolved=in_seconds(fitted),
            reason=f"{model.id} makes clips of {in_seconds(shortest)} to {in_seconds(longest)}",
        )
    return fitted


def _fit_count(
    request: StoryboardRequest, report: ValidationReport, *, max_clips: int, max_reel_s: float
) -> int | None:
    asked = request.num_clips
    if asked is None or asked <= max_clips:
        return asked
    report.add_adjustment(
        "/num_clips",
        requested=str(asked),
        resolved=str(max_clips),
        reason=f"a reel of this server is at most {in_seconds(max_reel_s)} long",
    )
    return max_clips


def _fit_ratio(request: StoryboardRequest, model: ModelSpec, report: ValidationReport) -> AspectRatio | None:
    asked, made = request.aspect_ratio, model.size.aspect_ratios
    if asked is None or asked in made:
        return asked
    nearest = min(made, key=lambda ratio: abs(math.log(_width_to_height(ratio) / _width_to_height(asked))))
    reason = f"{model.id} makes {', '.join(made)}"
    report.add_adjustment("/aspect_ratio", requested=asked, resolved=nearest, reason=reason)
    return nearest


def _width_to_height(ratio: AspectRatio) -> float:
    width, _, height = ratio.partition(":")
    return int(width) / int(height)


def _round_up(seconds: float) -> float:
    """Rounds inwards to the hundredth, so that the number is itself accepted."""
    return math.ceil(seconds * 100 - 1e-6) / 100


def _round_down(seconds: float) -> float:
    return math.floor(seconds * 100 + 1e-6) / 100
