"""How a model of the catalog is loaded and run: fine-tunes, sampler, step cache, tiers, and where weights are kept."""

from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

from phoenix.catalog.rules import EntryPart

Offload = Literal["auto", "never", "model", "group"]
"""Where unused weights are kept. `never`: on the device. `model`: in host memory, and moved to the device by component.
`group`: in host memory, and moved layer by layer, which takes the least memory. `auto`: on the device until a clip that
is alone there runs out of memory; then like `model`, or even `group`. `auto` tries the device again after half an hour.
"""

AttentionName = Literal[
    "auto",
    "native",
    "_native_cudnn",
    "_native_efficient",
    "_native_flash",
    "_native_math",
    "flex",
    "flash",
    "_flash_3",
    "sage",
    "xformers",
]
"""The attention backends of diffusers that need no code from the hub, and no lengths of sequences. `auto` leaves the
choice to the device.
"""

OptionValue = str | int | float | bool | list[str | int | float | bool]


class Lora(EntryPart):
    """A fine-tune that is part of the model from its load on: every clip of the entry has it."""

    source: str = Field(description="A safetensors file, a folder, or a hub id that was downloaded.")
    weight_name: str | None = Field(default=None, description="The file in that folder or repository.")
    scale: float = 1.0
    component: Literal["transformer", "transformer_2", "both"] | None = Field(
        default=None, description="The expert that it belongs to. A model of two experts needs it for each LoRA."
    )
    is_fused: bool = Field(
        default=True, description="False keeps it apart, for weights that cannot be changed; its source is then a file."
    )


class Scheduler(EntryPart):
    """Another sampler than the one in the folder of the model, or other settings of that one."""

    kind: str | None = Field(default=None, description="Class of diffusers, such as `FlowMatchEulerDiscreteScheduler`.")
    settings: dict[str, OptionValue] = Field(default_factory=dict, description="Such as `shift = 5.0`.")


class SecondStage(EntryPart):
    """A clip of half the size is made first. Its latents are enlarged, and refined in a few more steps."""

    upsampler: str = Field(
        default="latent_upsampler", pattern=r"^[\w-]+$", description="Its folder in the folder of the model."
    )
    sigmas: tuple[float, ...] = Field(min_length=1, description="The steps of the second stage; the first adds noise.")


class GgufFile(EntryPart):
    """The weights of a denoiser as a GGUF file, which is read instead of the weights in the folder of the model."""

    source: str = Field(description="A `.gguf` file, a folder, or a hub id that was downloaded.")
    weight_name: str | None = Field(default=None, description="The file in that folder or repository.")
    revision: str | None = Field(default=None, description="Commit of the hub.")
    component: Literal["transformer", "transformer_2"] = "transformer"


QuantizationKind = Literal["int8", "float8", "float8_dynamic", "gguf"]
QuantizedPart = Literal["denoisers", "text_encoders"]


class Quantization(EntryPart):
    """Weights of linear layers in 8 bits or fewer. The layers compute in the dtype of the entry.

    `int8` and `float8` round the weights once, at load; `float8_dynamic` also rounds what each layer computes with.
    `gguf` reads files that were quantised before.
    """

    kind: QuantizationKind
    components: tuple[QuantizedPart, ...] = Field(default=("denoisers",), min_length=1)
    files: tuple[GgufFile, ...] = Field(default=(), description="For `gguf`: a file for each denoiser that has one.")

    @model_validator(mode="after")
    def _has_no_field_without_effect(self) -> Self:
        if self.kind != "gguf" and self.files:
            raise ValueError(f"files has no effect on {self.kind}; only gguf reads files")
        if self.kind == "gguf" and not self.files:
            raise ValueError("gguf needs files: the weights of the denoisers that were quantised before")
        if self.kind == "gguf" and self.components != ("denoisers",):
            raise ValueError("components has no effect on gguf, whose files are weights of denoisers")
        names = [file.component for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("files has two files for one component")
        return self


CacheKind = Literal["first_block", "taylor_seer", "mag_cache", "sea_cache", "pyramid_attention"]

INERT_CACHES = {
    "faster_cache": "it fails with an IndexError on every video transformer of diffusers",
    "text_kv": "it acts on one transformer for pictures, and would change nothing here",
}
"""Step caches of diffusers that no entry can use, and why."""

READ_BY: dict[str, tuple[CacheKind, ...]] = {
    "threshold": ("first_block", "mag_cache", "sea_cache"),
    "interval": ("taylor_seer", "pyramid_attention"),
    "ratios": ("mag_cache",),
}


class StepCache(EntryPart):
    """Skips a part of the work of a step if little would change. Each kind is a cache of diffusers."""

    kind: CacheKind
    threshold: float | None = Field(
        default=None, gt=0, description="Larger is faster, but less exact. The default depends on the kind."
    )
    interval: int | None = Field(default=None, ge=2, description="Steps from one full computation to the next.")
    ratios: tuple[float, ...] | None = Field(
        default=None,
        min_length=2,
        description="For `mag_cache`: how much each step changes, measured on the weights.",
    )

    @model_validator(mode="before")
    @classmethod
    def _says_why_a_kind_is_refused(cls, fields: Any) -> Any:
        kind = cast("dict[str, Any]", fields).get("kind") if isinstance(fields, dict) else None
        if kind in INERT_CACHES:
            raise ValueError(f"kind {kind} is refused: {INERT_CACHES[kind]}; choose another kind")
        return cast("Any", fields)

    @model_validator(mode="after")
    def _has_no_field_without_effect(self) -> Self:
        for name, kinds in READ_BY.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} has no effect on {self.kind}; only {' and '.join(kinds)} read it")
        if self.kind == "mag_cache" and self.ratios is None:
            raise ValueError("mag_cache needs ratios, which are measured once on the weights")
        return self


ContextMethod = Literal["ulysses", "ring"]

CONTEXT_ATTENTION: dict[ContextMethod, tuple[AttentionName, ...]] = {
    "ulysses": ("auto", "native", "_native_cudnn", "_native_flash", "flash", "sage"),
    "ring": ("_native_cudnn", "_native_flash", "flash", "sage"),
}
"""The attention backends with which diffusers divides a sequence. A ring needs sums that `native` does not return."""


class Parallelism(EntryPart):
    """Devices of one worker that make one clip together. Each has the denoisers; the first has the whole pipeline."""

    context: int = Field(default=1, ge=1, le=64, description="Devices that share the sequence of each branch.")
    method: ContextMethod = Field(
        default="ulysses", description="`ulysses` divides the attention by heads, `ring` by parts of the sequence."
    )
    guidance: bool = Field(default=False, description="The two branches of guidance, each on devices of its own.")

    @property
    def devices(self) -> int:
        return self.context * (2 if self.guidance else 1)

    @model_validator(mode="after")
    def _has_no_field_without_effect(self) -> Self:
        if self.devices == 1:
            raise ValueError("it has one device, which changes nothing: set context, or guidance = true")
        if self.method == "ring" and self.context == 1:
            raise ValueError("method has no effect without context, which divides a sequence")
        return self


class TierAdapter(EntryPart):
    """An adapter that a tier adds to each clip, such as distilled weights for few steps."""

    id: str
    scale: float | None = Field(default=None, description="The default of the adapter if left out.")


class Tier(EntryPart):
    """What a quality changes in the entry of a model. The entry gives everything that is left out."""

    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: Scheduler | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict, description="Such as `sigmas` and `flow_shift`.")
    step_cache: StepCache | Literal["none"] | None = Field(
        default=None, description="`none` switches the cache of the entry off."
    )
    adapters: tuple[TierAdapter, ...] = ()
