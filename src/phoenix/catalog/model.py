"""The schema of a catalog entry. Its numbers are the limits that admission applies to requests."""

from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, model_validator

from phoenix.catalog.rules import (
    BatchRule,
    ConditionRule,
    EntryPart,
    FloatRange,
    FrameRule,
    IntRange,
    License,
    SizeRule,
)
from phoenix.catalog.tuning import (
    CONTEXT_ATTENTION,
    AttentionName,
    Lora,
    Offload,
    OptionValue,
    Parallelism,
    Quantization,
    Scheduler,
    SecondStage,
    StepCache,
    Tier,
)
from phoenix.contract import PICTURE_ROLES, ConditionRole, Quality

EngineName = Literal["animatic", "diffusers", "veo"]

OF_A_REQUEST = frozenset(
    {
        "prompt",
        "negative_prompt",
        "width",
        "height",
        "num_frames",
        "num_inference_steps",
        "guidance_scale",
        "generator",
        "output_type",
    }
)
"""Arguments that each request decides. As options, they would override it."""
VEO_APIS = ("videos", "interactions")
"""Interfaces of google-genai that make videos, as the option `api` of a veo model names them; the first if unset."""
OF_THE_LOAD = ("vae_dtype", "vae_tiling", "vae_slicing")
"""Options that change a component in memory, and so every pipeline that shares it."""

_OF_PARALLELISM = "set parallelism, such as `parallelism = { context = 2 }` or `parallelism = { guidance = true }`"
REFUSED = {
    **dict.fromkeys(("context_parallel", "cfg_parallel", "devices"), _OF_PARALLELISM),
    "tensor_parallel": f"Phoenix divides clips between devices, and not weights; {_OF_PARALLELISM}",
}
"""Fields that other servers have, and why an entry cannot have them."""


class ModelSpec(EntryPart):
    """One model of the catalog."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str
    description: str = ""
    engine: EngineName
    is_draft: bool = False
    conditions: dict[ConditionRole, ConditionRule] = Field(
        default_factory=dict[ConditionRole, ConditionRule],
        description="The roles of the pictures, videos and sounds that it takes.",
    )
    makes_sound: bool = Field(default=False, description="Whether its clips have sound; a load checks it.")
    source: str | None = Field(
        default=None, description="Folder or hub id of a diffusers pipeline; Google's name of a remote model."
    )
    revision: str | None = Field(
        default=None, description="Commit of the hub; `phoenix models pull` prints the newest."
    )
    license: License | None = Field(default=None, description="License of the weights.")
    download_bytes: int | None = Field(default=None, ge=0, description="What a download takes, where it is known.")
    price_per_s: float | None = Field(
        default=None, ge=0, description="List price of a remote model for a second of video, in the server's currency."
    )
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
    options: dict[str, OptionValue] = Field(
        default_factory=dict,
        description="Options for the engine's adapter, such as `max_sequence_length`, `sigmas` and `vae_dtype`.",
    )
    negative_prompt: str = Field(default="", description="For requests without one.")
    reads_negative_prompt: bool = Field(default=True, description="Whether a negative prompt changes a clip.")
    scheduler: Scheduler | None = None
    second_stage: SecondStage | None = Field(default=None, description="For LTX-2: refines an enlarged clip.")
    offload: Offload = "auto"
    loras: tuple[Lora, ...] = ()
    step_cache: StepCache | None = Field(default=None, description="Faster, but slightly inexact.")
    attention: AttentionName = Field(
        default="native", description="Kernel of diffusers for the denoisers' attention; `native` leaves it to torch."
    )
    quantization: Quantization | Literal["auto"] | None = Field(
        default=None, description="Weights in 8 bits or fewer; `auto`: where the device cannot hold them otherwise."
    )
    layerwise_casting: Literal["float8_e4m3fn", "float8_e5m2"] | None = Field(
        default=None, description="Type in which the denoisers' weights are held between their uses; less exact."
    )
    compile_blocks: bool | Literal["auto"] = Field(
        default=False, description="Slower once per shape, faster for every clip after that; `auto`: by device."
    )
    parallelism: Parallelism | Literal["auto"] | None = Field(
        default=None, description="Several devices of one worker for one clip; `auto`: those that the worker has."
    )
    concurrency: int | None = Field(default=None, ge=1, description="Clips of it on one device; no limit if unset.")
    batch: BatchRule | None = Field(default=None, description="How clips are batched; they are not if unset.")
    tiers: dict[Quality, Tier] = Field(
        default_factory=dict[Quality, Tier],
        description="What each `quality` changes. `standard` is the entry itself if left out.",
    )

    @property
    def needed_roles(self) -> tuple[ConditionRole, ...]:
        """The role of each condition that every clip needs, in the order of the entry."""
        return tuple(role for role, rule in self.conditions.items() for _ in range(rule.minimum))

    @property
    def is_remote(self) -> bool:
        """Whether a service over the network renders it; it then needs no device here."""
        return self.engine == "veo"

    @property
    def max_concurrency(self) -> int | None:
        """Number of calls that may share the modules. Caches keep the state of a call there; offloading and casting
        move the weights; several devices compute one call at a time.
        """
        shares_state = self.step_cache is not None or self.changes_modules
        return 1 if shares_state else self.concurrency

    @property
    def qualities(self) -> tuple[Quality, ...]:
        """The tiers of the model, the fastest first."""
        known: tuple[Quality, ...] = ("draft", "standard", "high")
        return tuple(quality for quality in known if quality in self.tiers or quality == "standard")

    def at_quality(self, quality: Quality) -> Self:
        """The entry with the changes of a tier; the entry itself if it does not define the tier."""
        tier = self.tiers.get(quality)
        if tier is None:
            return self
        changes: dict[str, Any] = {"options": self.options | tier.options}
        sigmas = tier.options.get("sigmas")
        if isinstance(sigmas, list):
            changes["steps"] = exact_steps(len(sigmas))
        elif tier.steps is not None:
            changes["steps"] = self.steps.with_default(tier.steps)
        if tier.guidance_scale is not None:
            changes["guidance_scale"] = self.guidance_scale.with_default(tier.guidance_scale)
        if tier.scheduler is not None:
            changes["scheduler"] = tier.scheduler
        if tier.step_cache is not None:
            changes["step_cache"] = None if tier.step_cache == "none" else tier.step_cache
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _has_usable_tiers(self) -> Self:
        for quality, tier in self.tiers.items():
            for name in sorted(tier.options.keys() & set(OF_THE_LOAD)):
                raise ValueError(f"tiers.{quality}.options.{name} would need other weights: set it in the entry")
            try:
                changed = self.at_quality(quality)
                changed.check_options()
                changed.check_parallelism()
            except ValueError as error:
                raise ValueError(f"tiers.{quality}: {error}") from error
            if tier.steps not in (None, changed.steps.default):
                raise ValueError(f"tiers.{quality}.steps is {tier.steps}, and its sigmas are {changed.steps.default}")
        return self

    @property
    def is_decided(self) -> bool:
        """Whether no field is left to the device that renders it."""
        return "auto" not in (self.attention, self.compile_blocks, self.quantization, self.parallelism)

    @property
    def may_offload(self) -> bool:
        """Whether a call that runs out of memory may move weights off the device."""
        return self.offload == "auto" and self.parallelism is None

    @property
    def devices(self) -> int:
        """Devices that a worker must have; 1 if the entry takes those that there are."""
        return self.parallelism.devices if isinstance(self.parallelism, Parallelism) else 1

    @property
    def changes_modules(self) -> bool:
        """Whether calls move, convert or divide the modules, so that no other pipeline can use them meanwhile."""
        is_alone = self.layerwise_casting is not None or self.parallelism is not None
        return is_alone or self.offload in ("model", "group")

    @model_validator(mode="after")
    def _has_consistent_conditions(self) -> Self:
        for role, rule in self.conditions.items():
            for other in {*rule.requires, *rule.excludes} - self.conditions.keys():
                raise ValueError(f"conditions.{role} names the role {other}, which is not among conditions")
            if role in PICTURE_ROLES and rule.shortest_s is not None:
                raise ValueError(f"conditions.{role}.shortest_s: a picture has no length; leave it out")
            if role != "source_video" and rule.overlap_s is not None:
                raise ValueError(f"conditions.{role}.overlap_s: a clip only continues a source_video; leave it out")
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.engine == "diffusers" and not self.source:
            raise ValueError("a diffusers model needs a source: a folder or a hub id")
        if self.engine == "veo" and not self.source:
            raise ValueError("a veo model needs a source: the name that Google uses for it")
        if self.engine != "veo" and self.price_per_s is not None:
            raise ValueError("price_per_s is of a remote model; PHOENIX_PRICES__DEVICE_HOUR is the price of a device")
        if self.engine == "veo" and self.options.get("api", VEO_APIS[0]) not in VEO_APIS:
            raise ValueError(f"options.api of a veo model is one of {', '.join(VEO_APIS)}")
        if self.makes_sound and (self.engine == "animatic" or self.options.get("generate_audio") is False):
            raise ValueError("makes_sound, and it would make none: leave makes_sound out")
        if self.second_stage and self.size.multiple % 2:
            raise ValueError("second_stage halves both sides: size.multiple must be even")
        if self.negative_prompt and not self.reads_negative_prompt:
            raise ValueError("negative_prompt without reads_negative_prompt")
        return self

    @model_validator(mode="after")
    def _quantization_can_act(self) -> Self:
        quantization = self.quantization
        if quantization is None:
            return self
        if self.engine != "diffusers":
            raise ValueError(f"quantization has no effect on the engine {self.engine}, which has no weights here")
        if self.layerwise_casting is not None:
            raise ValueError("quantization and layerwise_casting both change how weights are stored: choose one")
        if quantization == "auto" or quantization.kind != "gguf":
            return self
        for lora in self.loras:
            if lora.is_fused:
                raise ValueError(
                    f"quantization gguf cannot take the LoRA {lora.source} into its weights: set is_fused = false"
                )
        return self

    @model_validator(mode="after")
    def _parallelism_can_act(self) -> Self:
        self.check_parallelism()
        return self

    def check_parallelism(self) -> None:
        """Raises `ValueError` for several devices that could not act together with another field."""
        if self.parallelism is None:
            return
        if self.engine != "diffusers":
            raise ValueError(f"parallelism has no effect on the engine {self.engine}")
        if self.offload in ("model", "group"):
            raise ValueError(f"parallelism with offload {self.offload}: weights that move have no device; choose one")
        if self.step_cache is not None:
            raise ValueError("parallelism with step_cache: each device would skip other steps; choose one")
        if self.parallelism == "auto":
            return
        if self.parallelism.guidance and self.guidance_scale.maximum <= 1:
            raise ValueError("parallelism.guidance: guidance_scale is 1 at most, so that there is no second branch")
        known = CONTEXT_ATTENTION[self.parallelism.method]
        if self.parallelism.context > 1 and self.attention not in known:
            raise ValueError(
                f"parallelism.context by {self.parallelism.method} needs another attention than {self.attention}:"
                f" {', '.join(known)}"
            )

    @model_validator(mode="before")
    @classmethod
    def _says_why_a_field_is_refused(cls, fields: Any) -> Any:
        for name in sorted(REFUSED.keys() & cast("dict[str, Any]", fields).keys()) if isinstance(fields, dict) else ():
            raise ValueError(f"{name} is refused: {REFUSED[name]}")
        return cast("Any", fields)

    @model_validator(mode="after")
    def _options_leave_requests_alone(self) -> Self:
        self.check_options()
        return self

    def check_options(self) -> None:
        """Raises `ValueError` for an option that contradicts what a request says."""
        for name in sorted(OF_A_REQUEST & self.options.keys()):
            raise ValueError(f"options.{name} would override what a request says; use a field of the entry instead")
        sigmas = self.options.get("sigmas")
        if isinstance(sigmas, list) and {self.steps.minimum, self.steps.maximum} != {len(sigmas)}:
            raise ValueError(f"options.sigmas has {len(sigmas)} values: steps must be that number and no other")


def exact_steps(steps: int) -> IntRange:
    """The range of this number of steps and no other."""
    return IntRange(minimum=steps, maximum=steps, default=steps)
