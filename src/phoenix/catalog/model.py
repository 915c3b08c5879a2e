"""The schema of a catalog entry. Its numbers are the limits that admission applies to requests."""

import math
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from phoenix.contract.base import AspectRatio, Resolution

Offload = Literal["auto", "never", "model", "group"]
"""Where weights are kept while not in use: on the device (`never`), or in host memory, moved in by component (`model`)
or layer by layer (`group`, which takes the least memory). `auto` keeps them on the device until a clip that is alone
there runs out of memory; then it acts like `model`, or even `group`, and tries the device again after half an hour."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(_Part):
    """A fine-tune whose weights are fused into the model when it is loaded."""

    source: str = Field(description="A safetensors file, a folder, or a hub id that was downloaded.")
    weight_name: str | None = Field(default=None, description="The file in that folder or repository.")
    scale: float = 1.0


class StepCache(_Part):
    """Skips the rest of a step if its first block, or the steps so far, suggest that little would change."""

    kind: Literal["first_block", "taylor_seer"]
    threshold: float = Field(default=0.08, gt=0, description="For `first_block`: larger is faster, but less exact.")
    interval: int = Field(default=3, ge=2, description="For `taylor_seer`: steps from one full pass to the next.")


class BatchRule(_Part):
    """Clips of one shape may share a call as long as their tokens fit; beyond that a device is saturated."""

    max_clips: int = Field(default=8, ge=2)
    max_tokens: int = Field(default=8192, ge=1, description="Of all clips together.")
    token_px: int = Field(ge=1, description="Side of the square of pixels that becomes one token.")
    token_frames: int = Field(ge=1, description="Frames, after the first, that become one token.")

    def tokens(self, width: int, height: int, num_frames: int) -> int:
        """Tokens of one clip."""
        across, down = math.ceil(width / self.token_px), math.ceil(height / self.token_px)
        return across * down * (math.ceil((num_frames - 1) / self.token_frames) + 1)


EngineName = Literal["animatic", "diffusers", "veo"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SizeRule(_Entry):
    """The shorter side comes from the resolution, the other from the ratio; both rounded to `multiple`."""

    resolutions: Annotated[tuple[Resolution, ...], Field(min_length=1)]
    default_resolution: Resolution
    aspect_ratios: Annotated[tuple[AspectRatio, ...], Field(min_length=1)]
    default_aspect_ratio: AspectRatio
    multiple: int = Field(default=2, ge=2, description="Pixels; yuv420p needs 2, most models 16 or 32.")
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


class FrameRule(_Entry):
    """Frame counts a model can make: `multiple` * k + `offset`, at most `maximum`."""

    multiple: int = Field(default=1, ge=1)
    offset: int = Field(default=0, ge=0)
    minimum: int = Field(default=1, ge=1)
    maximum: int = Field(ge=1)
    default: int = Field(ge=1)
    longest_s: float | None = Field(
        default=None,
        gt=0,
        description="Bound in seconds, for engines to which the number of frames is no limit.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name in ("minimum", "maximum", "default"):
            count: int = getattr(self, name)
            if (count - self.offset) % self.multiple:
                raise ValueError(f"{name} {count} is not {self.multiple} * k + {self.offset}")
        return _check_order(self)


class IntRange(_Entry):
    minimum: int
    maximum: int
    default: int

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        return _check_order(self)


class FloatRange(_Entry):
    minimum: float
    maximum: float
    default: float

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        return _check_order(self)


_RuleT = TypeVar("_RuleT", FrameRule, IntRange, FloatRange)


def _check_order(rule: _RuleT) -> _RuleT:
    if not rule.minimum <= rule.default <= rule.maximum:
        raise ValueError(f"default {rule.default} is not between {rule.minimum} and {rule.maximum}")
    return rule


class ModelSpec(_Entry):
    """One model of the catalog."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str
    description: str = ""
    engine: EngineName
    is_draft: bool = False
    takes_image: bool = False
    needs_image: bool = False
    source: str | None = Field(
        default=None, description="Folder or hub id of a diffusers pipeline; Google's name of a Veo model."
    )
    revision: str | None = None
    pipeline: str | None = Field(
        default=None, description="Class of diffusers to load the folder with, if not the one that it names."
    )
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    size: SizeRule
    frames: FrameRule
    fps: IntRange
    steps: IntRange
    guidance_scale: FloatRange
    memory_bytes: int | None = Field(default=None, description="Weights on the device, until measured.")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="Passed to the engine's adapter: `max_sequence_length`, `vae_dtype` …",
    )
    offload: Offload = "auto"
    loras: tuple[Lora, ...] = ()
    step_cache: StepCache | None = Field(default=None, description="Faster, but slightly inexact.")
    compile_blocks: bool = Field(default=False, description="Slower once per shape, faster for every clip after that.")
    concurrency: int | None = Field(default=None, ge=1, description="Its clips on one device; no limit if unset.")
    batch: BatchRule | None = Field(default=None, description="How its clips are batched; never if unset.")

    @property
    def is_remote(self) -> bool:
        """Whether another service renders it, so that it takes up no device here."""
        return self.engine == "veo"

    @property
    def max_concurrency(self) -> int | None:
        """Calls that may share its weights. Caches and offloading keep the state of a call on the modules."""
        shares_state = self.step_cache is not None or self.offload in ("model", "group")
        return 1 if shares_state else self.concurrency

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.engine == "diffusers" and not self.source:
            raise ValueError("a diffusers model needs a source: a folder or a hub id")
        if self.engine == "veo" and not self.source:
            raise ValueError("a veo model needs a source: the name by which Google knows it")
        if self.needs_image and not self.takes_image:
            raise ValueError("needs_image without takes_image")
        return self
