"""The limits of a catalog entry: sizes, frame counts, ranges of numbers, and batches."""

import math
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from phoenix.contract import AspectRatio, ConditionRole, Resolution


class EntryPart(BaseModel):
    """A frozen part of an entry. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class License(EntryPart):
    """Under which the weights are published. Phoenix enforces nothing of it."""

    name: str = Field(description="Its SPDX identifier, or its name.")
    url: str = Field(pattern=r"^https://", description="Its text.")


class BatchRule(EntryPart):
    """Limits of a batch. Clips of one shape may share a call while their tokens fit; more would saturate the device."""

    max_clips: int = Field(default=8, ge=2)
    max_tokens: int = Field(default=8192, ge=1, description="Limit for all clips of a batch together.")
    token_px: int = Field(ge=1, description="Side of the square of pixels that becomes one token.")
    token_frames: int = Field(ge=1, description="Frames, after the first, that become one token.")

    def tokens(self, width: int, height: int, num_frames: int) -> int:
        """Tokens of one clip."""
        across, down = math.ceil(width / self.token_px), math.ceil(height / self.token_px)
        return across * down * (math.ceil((num_frames - 1) / self.token_frames) + 1)


class SizeRule(EntryPart):
    """The sizes that a model makes. The resolution gives the shorter side, the ratio the other; both are rounded."""

    resolutions: Annotated[tuple[Resolution, ...], Field(min_length=1)]
    default_resolution: Resolution
    aspect_ratios: Annotated[tuple[AspectRatio, ...], Field(min_length=1)]
    default_aspect_ratio: AspectRatio
    multiple: int = Field(
        default=2, ge=2, description="Both sides are multiples of it, in pixels; yuv420p needs 2, most models 16 or 32."
    )
    exact: dict[str, tuple[int, int]] = Field(
        default_factory=dict, description="'480p 16:9' -> [832, 480]: sizes the model was trained at."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.default_resolution not in self.resolutions:
            raise ValueError(f"default_resolution {self.default_resolution} is not among resolutions")
        if self.default_aspect_ratio not in self.aspect_ratios:
            raise ValueError(f"default_aspect_ratio {self.default_aspect_ratio} is not among aspect_ratios")
        for name, size_px in self.exact.items():
            resolution, _, ratio = name.partition(" ")
            if resolution not in self.resolutions or ratio not in self.aspect_ratios:
                raise ValueError(f"exact size {name!r} names no pair of resolutions and aspect_ratios")
            if any(side_px < 1 or side_px % self.multiple for side_px in size_px):
                raise ValueError(f"exact size {name!r} is not in multiples of {self.multiple} pixels")
        return self


class FrameRule(EntryPart):
    """The frame counts that a model makes: `multiple` * k + `offset`, from `minimum` to `maximum`."""

    multiple: int = Field(default=1, ge=1)
    offset: int = Field(default=0, ge=0)
    minimum: int = Field(default=1, ge=1)
    maximum: int = Field(ge=1)
    default: int = Field(ge=1)
    longest_s: float | None = Field(
        default=None,
        gt=0,
        description="Longest clip in seconds, for an engine that has no limit in frames.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name in ("minimum", "maximum", "default"):
            count: int = getattr(self, name)
            if (count - self.offset) % self.multiple:
                raise ValueError(f"{name} {count} is not {self.multiple} * k + {self.offset}")
        return _check_order(self)


class IntRange(EntryPart):
    minimum: int
    maximum: int
    default: int

    def with_default(self, default: int) -> Self:
        """The range with another default. Raises `ValueError` if it is out of the range."""
        return _check_order(self.model_copy(update={"default": default}))

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        return _check_order(self)


class FloatRange(EntryPart):
    minimum: float
    maximum: float
    default: float

    def with_default(self, default: float) -> Self:
        """The range with another default. Raises `ValueError` if it is out of the range."""
        return _check_order(self.model_copy(update={"default": default}))

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        return _check_order(self)


class ConditionRule(EntryPart):
    """How many conditions of one role a clip may have, and which."""

    minimum: int = Field(default=0, ge=0, description="Conditions that each clip needs.")
    maximum: int = Field(default=1, ge=1, le=16, description="Conditions that a clip may have.")
    strength: FloatRange | None = Field(default=None, description="For a role whose strength can be chosen.")
    shortest_s: float | None = Field(
        default=None, gt=0, description="Shortest video or sound in seconds; as long as the clip if unset."
    )
    shortest_clip_s: float | None = Field(default=None, gt=0, description="Shortest clip in seconds with this role.")
    longest_clip_s: float | None = Field(default=None, gt=0, description="Longest clip in seconds with this role.")
    overlap_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of the end of a source video with which a clip begins; unset for any other use of it.",
    )
    requires: tuple[ConditionRole, ...] = Field(default=(), description="Roles that must come with this role.")
    excludes: tuple[ConditionRole, ...] = Field(default=(), description="Roles that cannot come with this role.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is more than maximum {self.maximum}")
        if self.shortest_clip_s and self.longest_clip_s and self.shortest_clip_s > self.longest_clip_s:
            raise ValueError(
                f"shortest_clip_s {self.shortest_clip_s} is more than longest_clip_s {self.longest_clip_s}"
            )
        return self

    @property
    def needed_s(self) -> float | None:
        """The shortest video or sound in seconds; None if it has to be as long as the clip."""
        return self.overlap_s if self.shortest_s is None else self.shortest_s


_RuleT = TypeVar("_RuleT", FrameRule, IntRange, FloatRange)


def _check_order(rule: _RuleT) -> _RuleT:
    if not rule.minimum <= rule.default <= rule.maximum:
        raise ValueError(f"default {rule.default} is not between {rule.minimum} and {rule.maximum}")
    return rule
