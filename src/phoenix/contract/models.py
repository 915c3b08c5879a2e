"""The catalog as clients see it."""

from pydantic import Field

from phoenix.contract.base import AspectRatio, Resolution, View


class NumberRange(View):
    minimum: float
    maximum: float
    default: float


class Model(View):
    id: str
    title: str
    description: str
    engine: str
    is_draft: bool = Field(description="A stand-in to try prompts and timing with, not a finished picture.")
    takes_image: bool
    resolutions: list[Resolution]
    default_resolution: Resolution
    aspect_ratios: list[AspectRatio]
    default_aspect_ratio: AspectRatio
    fps: NumberRange
    duration_s: NumberRange
    steps: NumberRange
    guidance_scale: NumberRange
    is_served: bool = Field(description="Whether a live worker serves it now; jobs for it wait otherwise.")


class ModelList(View):
    data: list[Model]
