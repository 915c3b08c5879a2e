"""The catalog of models, as clients see it."""

from pydantic import Field

from phoenix.contract.wire_types import AspectRatio, Resolution, View


class NumberRange(View):
    """The numbers that a model takes, bounds included, and its default."""

    minimum: float
    maximum: float
    default: float


class Model(View):
    """A model of the catalog: its limits and its defaults."""

    id: str
    title: str
    description: str
    engine: str
    is_draft: bool = Field(description="Whether it only makes stand-ins, to try prompts and timing with.")
    takes_image: bool
    resolutions: list[Resolution]
    default_resolution: Resolution
    aspect_ratios: list[AspectRatio]
    default_aspect_ratio: AspectRatio
    fps: NumberRange
    duration_s: NumberRange = Field(description="Seconds of one clip at the default frame rate.")
    steps: NumberRange
    guidance_scale: NumberRange
    is_served: bool = Field(description="Whether a live worker serves it now; if not, jobs for it wait.")


class ModelList(View):
    """The models of this server."""

    data: list[Model]
