"""The catalog of models, as clients see it."""

from pydantic import Field

from phoenix.contract.artifacts import MediaKind
from phoenix.contract.conditions import ConditionRole
from phoenix.contract.requests import Quality
from phoenix.contract.resolved import ResolvedLora
from phoenix.contract.wire_types import AspectRatio, Resolution, View


class NumberRange(View):
    """The numbers that a model takes, bounds included, and its default."""

    minimum: float
    maximum: float
    default: float


class ModelTier(View):
    """A tier of a model: the values that a reel with this `quality` has by default."""

    quality: Quality
    steps: int
    guidance_scale: float
    loras: list[ResolvedLora] = Field(description="Adapters that the tier adds to each clip.")


class ModelAdapter(View):
    """An adapter that a model takes."""

    id: str
    title: str
    description: str
    trigger_words: list[str] = Field(
        description="Words that a prompt needs, so that the adapter acts as it was trained."
    )
    scale: NumberRange


class ModelLicense(View):
    """The license under which the weights of a model are published."""

    name: str = Field(description="Its SPDX identifier, or its name.")
    url: str


class ModelSize(View):
    """The size that a model makes for a resolution and an aspect ratio, in pixels."""

    resolution: Resolution
    aspect_ratio: AspectRatio
    width: int
    height: int


class ModelCondition(View):
    """A role of conditions that a model takes."""

    role: ConditionRole
    media: MediaKind = Field(description="The kind of file that the role wants.")
    minimum: int = Field(description="Conditions of this role that each clip needs.")
    maximum: int = Field(description="Conditions of this role that a clip may have.")
    has_time: bool = Field(description="Whether a condition of this role needs `at_s`.")
    strength: NumberRange | None = Field(default=None, description="Null if the role has no strength.")
    shortest_s: float | None = Field(
        default=None, description="Seconds of the shortest video or sound; null if it must be as long as the clip."
    )
    shortest_clip_s: float | None = Field(
        default=None, description="Seconds of the shortest clip with this role; null if `duration_s` is its only limit."
    )
    longest_clip_s: float | None = Field(
        default=None, description="Seconds of the longest clip with this role; null if `duration_s` is its only limit."
    )
    overlap_s: float | None = Field(
        default=None,
        description="The clip continues the video: it begins with so many seconds of its end. Null if it follows all.",
    )
    requires: list[ConditionRole] = Field(description="Roles that a clip with this role must have, too.")
    excludes: list[ConditionRole] = Field(description="Roles that a clip with this role cannot have.")


class Model(View):
    """A model of the catalog: its limits and its defaults."""

    id: str
    title: str
    description: str
    engine: str
    is_draft: bool = Field(description="Whether it only makes stand-ins, to try prompts and timing with.")
    conditions: list[ModelCondition] = Field(description="The roles of the pictures, videos and sounds that it takes.")
    makes_sound: bool = Field(description="Whether its clips have sound.")
    resolutions: list[Resolution]
    default_resolution: Resolution
    aspect_ratios: list[AspectRatio]
    default_aspect_ratio: AspectRatio
    sizes: list[ModelSize] = Field(description="One for each resolution and aspect ratio.")
    fps: NumberRange
    duration_s: NumberRange = Field(
        description="Seconds of one clip at the default frame rate, the same for each of the sizes."
    )
    steps: NumberRange
    guidance_scale: NumberRange
    tiers: list[ModelTier] = Field(description="What `quality` may be, the fastest first.")
    adapters: list[ModelAdapter] = Field(description="What `loras` of a request may name. Empty for none.")
    license: ModelLicense | None = Field(description="Null if its weights are not published, or if it has none.")
    memory_bytes: int | None = Field(description="Memory of its weights on a device; null if unknown or remote.")
    devices: int = Field(
        default=1, description="Devices that make a clip together; 1 also for a model that takes as many as there are."
    )
    download_bytes: int | None = Field(description="Size of a download of its weights; null if unknown.")
    is_served: bool = Field(description="Whether a live worker serves it now; if not, jobs for it wait.")
    unserved_reason: str | None = Field(description="Why no worker serves it, and what to do; null if one does.")


class ModelUpscaler(View):
    """What `upscale` of a request may name. Every model can be upscaled."""

    id: str
    title: str
    description: str
    factor: int = Field(description="How many times as wide and as high a frame becomes; `scale` may be less.")
    license: ModelLicense | None = Field(description="Null if it is unknown.")


class ModelInterpolator(View):
    """What `interpolate` of a request may name. The clips of every model can be interpolated."""

    id: str
    title: str
    description: str
    factors: list[int] | None = Field(
        description="How many times the frame rate of the model the result may have; null for any rate above it."
    )
    license: ModelLicense | None = Field(description="Null if it is unknown, or if it has no weights.")


class ModelLips(View):
    """What `model` of a lip-sync may name."""

    id: str
    title: str
    description: str
    license: ModelLicense | None = Field(description="Null if it is unknown, or if it has no weights.")


class ModelList(View):
    """The models of this server, and what changes their frames after them."""

    data: list[Model]
    upscalers: list[ModelUpscaler]
    interpolators: list[ModelInterpolator]
    lip_models: list[ModelLips]
