"""Resolves each value of a reel, in one function each, from the clip, the reel and the model. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import FloatRange, FrameRule, IntRange, SizeRule
from phoenix.clock import in_seconds, plain_number
from phoenix.contract import Adjustment, AspectRatio, MediaInfo, ReelRequest, Resolution, Transition
from phoenix.errors import FieldError, InvalidRequest


class ValidationReport:
    """Collects the field errors and adjustments of one request, so that a client gets all of them at once.

    A value of the reel is checked once per clip; its field error is kept once.
    """

    def __init__(self) -> None:
        self._field_errors: dict[FieldError, None] = {}
        self._adjustments: dict[str, Adjustment] = {}

    def add_error(self, pointer: str, detail: str) -> None:
        self._field_errors[FieldError(pointer, detail)] = None

    def add_adjustment(self, pointer: str, *, requested: str, resolved: str, reason: str) -> None:
        self._adjustments[pointer] = Adjustment(pointer=pointer, requested=requested, resolved=resolved, reason=reason)

    @property
    def adjustments(self) -> list[Adjustment]:
        return list(self._adjustments.values())

    def raise_errors(self) -> None:
        """Raises `InvalidRequest` with every field error in the order found; returns if there are none."""
        if self._field_errors:
            raise InvalidRequest.from_field_errors(tuple(self._field_errors))


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def ideal_size(resolution: Resolution, aspect_ratio: AspectRatio) -> tuple[Fraction, Fraction]:
    """Width and height before rounding: the shorter side has `resolution` pixels."""
    short = Fraction(resolution.removesuffix("p"))
    wide, high = (Fraction(part) for part in aspect_ratio.split(":"))
    return (short * wide / high, short) if wide >= high else (short, short * high / wide)


def fit_size(rule: SizeRule, resolution: Resolution, aspect_ratio: AspectRatio) -> Size:
    """The size the model was trained at for this pair, or else both sides rounded to the rule's multiple."""
    if exact := rule.exact.get(f"{resolution} {aspect_ratio}"):
        return Size(*exact)
    width, height = ideal_size(resolution, aspect_ratio)
    return Size(_round_to(width, rule.multiple), _round_to(height, rule.multiple))


def is_visibly_rounded(size: Size, resolution: Resolution, aspect_ratio: AspectRatio) -> bool:
    """Whether a side is off by two pixels or more: 480p means 854x480 to everyone, not 832x480."""
    width, height = ideal_size(resolution, aspect_ratio)
    return abs(size.width - width) >= 2 or abs(size.height - height) >= 2


def _round_to(side_px: Fraction, multiple: int) -> int:
    return max(multiple, int(side_px / multiple + Fraction(1, 2)) * multiple)


def nearest_frames(rule: FrameRule, frames: float) -> int:
    """The frame count of the rule nearest to `frames`, within its bounds; the larger one of two equally near."""
    k = math.floor((frames - rule.offset) / rule.multiple + 0.5)
    return min(max(k * rule.multiple + rule.offset, rule.minimum), floor_frames(rule, math.inf))


def floor_frames(rule: FrameRule, frames: float) -> int:
    """The largest count of the rule that is at most `frames`, but never less than its minimum."""
    if frames >= rule.maximum:
        return rule.maximum
    k = math.floor((frames - rule.offset) / rule.multiple)
    return max(k * rule.multiple + rule.offset, rule.minimum)


def shortest_s(rule: FrameRule, fps: int) -> float:
    """Seconds of the shortest clip at this frame rate."""
    return rule.minimum / fps


def longest_s(rule: FrameRule, fps: int) -> float:
    """Seconds of the longest clip at this frame rate: bounded by frames, and by seconds if the rule says so."""
    if rule.longest_s is None:
        return rule.maximum / fps
    return floor_frames(rule, rule.longest_s * fps) / fps


def default_frames(rule: FrameRule, fps: int, *, default_fps: int) -> int:
    """Number of frames of the default length at another frame rate: the same seconds, as far as the model allows."""
    frames = rule.default * fps / default_fps
    return nearest_frames(rule, min(frames, longest_s(rule, fps) * fps))


_T = TypeVar("_T", int, float, str)
_Number = TypeVar("_Number", int, float)

FRAME_TOLERANCE = 1e-3
"""In frames. In floating point, 0.1 s times 30 fps is not a whole number."""


@dataclass(frozen=True)
class _Given(Generic[_T]):
    """A value that the client set, with its pointer: into the clip, or into the reel for all clips."""

    value: _T
    pointer: str


def resolve_size(
    request: ReelRequest, model: ModelSpec, report: ValidationReport
) -> tuple[Resolution, AspectRatio, Size]:
    """The resolution and aspect ratio to use, and their size in pixels."""
    rule = model.size
    resolution = request.resolution or rule.default_resolution
    aspect_ratio = request.aspect_ratio or rule.default_aspect_ratio
    if resolution not in rule.resolutions:
        report.add_error("/resolution", f"{model.id} makes {', '.join(rule.resolutions)}; choose one of them")
    if aspect_ratio not in rule.aspect_ratios:
        report.add_error("/aspect_ratio", f"{model.id} makes {', '.join(rule.aspect_ratios)}; choose one of them")
    size = fit_size(rule, resolution, aspect_ratio)
    if (request.resolution or request.aspect_ratio) and is_visibly_rounded(size, resolution, aspect_ratio):
        width, height = ideal_size(resolution, aspect_ratio)
        report.add_adjustment(
            "/resolution" if request.resolution else "/aspect_ratio",
            requested=f"{resolution} {aspect_ratio} ({float(width):.0f}x{float(height):.0f})",
            resolved=str(size),
            reason=f"{model.id} makes sides in multiples of {rule.multiple} pixels",
        )
    return resolution, aspect_ratio, size


class FrameRates(NamedTuple):
    """Frames per second that the model makes, and that the file has."""

    made: int
    shown: int


def resolve_fps(request: ReelRequest, model: ModelSpec, report: ValidationReport) -> FrameRates:
    """The rate that was asked for, and the nearest rate of the model, from which frames are repeated or left out.

    A file that merely played the frames of the model at another rate would play them at another speed.
    """
    rule, asked = model.fps, request.fps
    if asked is None:
        return FrameRates(rule.default, rule.default)
    made = min(max(asked, rule.minimum), rule.maximum)
    if made != asked:
        rates = f"{rule.minimum}" if rule.minimum == rule.maximum else f"{rule.minimum} to {rule.maximum}"
        report.add_adjustment(
            "/fps",
            requested=f"{asked} fps",
            resolved=f"{asked} fps, converted from {made}",
            reason=f"{model.id} makes {rates} fps; the length and the speed stay the same",
        )
    return FrameRates(made, asked)


def resolve_steps(request: ReelRequest, index: int, model: ModelSpec, report: ValidationReport) -> int:
    given = _first_given("steps", index, request.clips[index].steps, request.steps)
    return model.steps.default if given is None else _check_range(model.steps, given, model, report)


def resolve_guidance(request: ReelRequest, index: int, model: ModelSpec, report: ValidationReport) -> float:
    given = _first_given("guidance_scale", index, request.clips[index].guidance_scale, request.guidance_scale)
    rule = model.guidance_scale
    return rule.default if given is None else _check_range(rule, given, model, report)


def resolve_negative_prompt(
    request: ReelRequest, index: int, model: ModelSpec, report: ValidationReport, *, guidance_scale: float
) -> str:
    """The negative prompt of the clip, of the reel, or of the entry. Empty, and reported, if nothing reads it."""
    given = _first_given("negative_prompt", index, request.clips[index].negative_prompt, request.negative_prompt)
    if given is None:
        return model.negative_prompt
    # LTX-2 guides its sound by a scale of its own.
    is_guided = model.engine != "diffusers" or model.makes_sound or guidance_scale > 1
    if given.value and not (model.reads_negative_prompt and is_guided):
        reason = f"{model.id} reads no negative prompt"
        if model.reads_negative_prompt:
            reason += f" at a guidance scale of {plain_number(guidance_scale)}: ask for more than 1"
        report.add_adjustment(given.pointer, requested=given.value, resolved="", reason=reason)
        return ""
    return given.value


def resolve_frames(request: ReelRequest, index: int, model: ModelSpec, report: ValidationReport, *, fps: int) -> int:
    """The frame count of the model that is nearest to the requested seconds."""
    rule = model.frames
    given = _first_given("duration_s", index, request.clips[index].duration_s, request.duration_s)
    if given is None:
        return default_frames(rule, fps, default_fps=model.fps.default)
    wanted = given.value * fps
    shortest, longest = shortest_s(rule, fps), longest_s(rule, fps)
    if not shortest * fps - FRAME_TOLERANCE <= wanted <= longest * fps + FRAME_TOLERANCE:
        nearest = shortest if given.value < shortest else longest
        detail = f"{model.id} makes clips of {_ceil_ms(shortest)} to {_floor_ms(longest)} s at {fps} fps"
        report.add_error(
            given.pointer,
            f"{detail}; the nearest is {_ceil_ms(nearest) if nearest == shortest else _floor_ms(nearest)} s",
        )
        return nearest_frames(rule, nearest * fps)
    frames = nearest_frames(rule, wanted)
    if abs(frames - wanted) > FRAME_TOLERANCE:
        report.add_adjustment(
            given.pointer,
            requested=f"{in_seconds(given.value)} ({plain_number(wanted)} frames at {fps} fps)",
            resolved=f"{in_seconds(frames / fps)} ({frames} frames)",
            reason=_frame_reason(model),
        )
    return frames


def joined_length_s(transition: Transition, lengths_s: Sequence[float]) -> float:
    """Length of the joined picture in seconds: each crossfade overlaps two clips."""
    overlap_s = transition.duration_s if transition.kind == "crossfade" else 0
    return sum(lengths_s) - overlap_s * (len(lengths_s) - 1)


def picture_length_s(info: MediaInfo) -> float | None:
    """Length of the picture of a video in seconds, which the sound of the video may outlast."""
    return info.duration_s if info.video_duration_s is None else info.video_duration_s


def sound_length_s(info: MediaInfo) -> float | None:
    """Length of the sound of a file in seconds."""
    return info.duration_s if info.audio_duration_s is None else info.audio_duration_s


def _first_given(name: str, index: int, of_clip: _T | None, of_reel: _T | None) -> _Given[_T] | None:
    if of_clip is not None:
        return _Given(of_clip, f"/clips/{index}/{name}")
    return None if of_reel is None else _Given(of_reel, f"/{name}")


def _check_range(
    rule: IntRange | FloatRange, given: _Given[_Number], model: ModelSpec, report: ValidationReport
) -> _Number:
    if rule.minimum <= given.value <= rule.maximum:
        return given.value
    nearest = type(given.value)(min(max(given.value, rule.minimum), rule.maximum))
    report.add_error(
        given.pointer,
        f"{model.id} takes {plain_number(rule.minimum)} to {plain_number(rule.maximum)} here;"
        f" the nearest is {plain_number(nearest)}",
    )
    return nearest


def _frame_reason(model: ModelSpec) -> str:
    rule = model.frames
    if rule.multiple == 1:
        return "a clip is a whole number of frames"
    return f"{model.id} makes {rule.multiple}k+{rule.offset} frames"


def _ceil_ms(seconds: float) -> float:
    """Rounds inwards to the millisecond, so that the number in the message is itself accepted."""
    return math.ceil(seconds * 1000 - 1e-6) / 1000


def _floor_ms(seconds: float) -> float:
    return math.floor(seconds * 1000 + 1e-6) / 1000
