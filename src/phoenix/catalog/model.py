"""The catalog of models: the schema of an entry, and the loading of the built-in and the operator's entries.

The numbers of an entry are the limits that admission applies to requests.
"""

import math
import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from phoenix.contract import AspectRatio, Resolution
from phoenix.errors import NotFound, PhoenixError

Offload = Literal["auto", "never", "model", "group"]
"""Where unused weights are kept. `never`: on the device. `model`: in host memory, and moved to the device by component.
`group`: in host memory, and moved layer by layer, which takes the least memory. `auto`: on the device until a clip that
is alone there runs out of memory; then like `model`, or even `group`. `auto` tries the device again after half an hour.
"""


EngineName = Literal["animatic", "diffusers", "veo"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(_Entry):
    """A fine-tune whose weights are fused into the model when it is loaded."""

    source: str = Field(description="A safetensors file, a folder, or a hub id that was downloaded.")
    weight_name: str | None = Field(default=None, description="The file in that folder or repository.")
    scale: float = 1.0


class StepCache(_Entry):
    """Skips the rest of a step if its first block, or the steps so far, suggest that little would change."""

    kind: Literal["first_block", "taylor_seer"]
    threshold: float = Field(default=0.08, gt=0, description="For `first_block`: larger is faster, but less exact.")
    interval: int = Field(default=3, ge=2, description="For `taylor_seer`: steps from one full pass to the next.")


class BatchRule(_Entry):
    """Limits of a batch. Clips of one shape may share a call while their tokens fit; more would saturate the device."""

    max_clips: int = Field(default=8, ge=2)
    max_tokens: int = Field(default=8192, ge=1, description="Limit for all clips of a batch together.")
    token_px: int = Field(ge=1, description="Side of the square of pixels that becomes one token.")
    token_frames: int = Field(ge=1, description="Frames, after the first, that become one token.")

    def tokens(self, width: int, height: int, num_frames: int) -> int:
        """Tokens of one clip."""
        across, down = math.ceil(width / self.token_px), math.ceil(height / self.token_px)
        return across * down * (math.ceil((num_frames - 1) / self.token_frames) + 1)


class SizeRule(_Entry):
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


class FrameRule(_Entry):
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
        default=None,
        description="Class of diffusers that loads the folder, if it is not the class that the folder names.",
    )
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    size: SizeRule
    frames: FrameRule
    fps: IntRange
    steps: IntRange
    guidance_scale: FloatRange
    memory_bytes: int | None = Field(
        default=None, description="Memory of the weights on the device, until it is measured."
    )
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="Options for the engine's adapter, such as `max_sequence_length` and `vae_dtype`.",
    )
    offload: Offload = "auto"
    loras: tuple[Lora, ...] = ()
    step_cache: StepCache | None = Field(default=None, description="Faster, but slightly inexact.")
    compile_blocks: bool = Field(default=False, description="Slower once per shape, faster for every clip after that.")
    concurrency: int | None = Field(default=None, ge=1, description="Clips of it on one device; no limit if unset.")
    batch: BatchRule | None = Field(default=None, description="How clips are batched; they are not if unset.")

    @property
    def is_remote(self) -> bool:
        """Whether a service over the network renders it; it then needs no device here."""
        return self.engine == "veo"

    @property
    def max_concurrency(self) -> int | None:
        """Number of calls that may share the weights. Caches and offloading keep the state of a call on the modules."""
        shares_state = self.step_cache is not None or self.offload in ("model", "group")
        return 1 if shares_state else self.concurrency

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.engine == "diffusers" and not self.source:
            raise ValueError("a diffusers model needs a source: a folder or a hub id")
        if self.engine == "veo" and not self.source:
            raise ValueError("a veo model needs a source: the name that Google uses for it")
        if self.needs_image and not self.takes_image:
            raise ValueError("needs_image without takes_image")
        return self


class CatalogError(PhoenixError):
    """A catalog file cannot be used."""


class Catalog:
    """The models of this deployment. Iterating gives the entries in the order of the files."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self._specs = MappingProxyType({spec.id: spec for spec in specs})

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._specs

    def find(self, model_id: str) -> ModelSpec | None:
        return self._specs.get(model_id)

    def get(self, model_id: str) -> ModelSpec:
        """The entry of the model. Raises `NotFound`, which lists the known models."""
        spec = self.find(model_id)
        if spec is None:
            raise NotFound(f"There is no model {model_id!r}; there are: {', '.join(self._specs)}.")
        return spec


def load_catalog(extra_file: Path | None = None) -> Catalog:
    """The built-in models, with `extra_file` merged over them.

    An entry with a known id changes the fields that it names and keeps the other fields; an entry with a new id adds a
    model. Raises `CatalogError`, which names the file, the entry and the field.
    """
    builtin = files("phoenix.catalog").joinpath("builtin.toml").read_text(encoding="utf-8")
    entries = _parse(builtin, "builtin.toml")
    if extra_file is not None:
        for model_id, fields in _parse(_read(extra_file), str(extra_file)).items():
            entries[model_id] = _merge(entries.get(model_id, {}), fields)
    return Catalog(_check(model_id, fields, extra_file) for model_id, fields in entries.items())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"catalog file {path}: {error}") from error


def _parse(text: str, name: str) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"catalog file {name}: {error}") from error
    models = document.pop("models", None)
    if document or not isinstance(models, list):
        raise CatalogError(f"catalog file {name}: write each model as a [[models]] table, and nothing else")
    entries: dict[str, dict[str, Any]] = {}
    for position, fields in enumerate(cast("list[dict[str, Any]]", models)):
        model_id = fields.get("id")
        if not isinstance(model_id, str):
            raise CatalogError(f"catalog file {name}: model number {position + 1} has no id")
        if model_id in entries:
            raise CatalogError(f"catalog file {name}: model {model_id!r} is there twice")
        entries[model_id] = fields
    return entries


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both_tables = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(cast("dict[str, Any]", old), cast("dict[str, Any]", value)) if both_tables else value
    return merged


def _check(model_id: str, fields: dict[str, Any], extra_file: Path | None) -> ModelSpec:
    try:
        return ModelSpec.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}" for item in error.errors())
        where = f"catalog file {extra_file}" if extra_file else "the built-in catalog"
        raise CatalogError(f"{where}: model {model_id!r}: {problems}") from error
