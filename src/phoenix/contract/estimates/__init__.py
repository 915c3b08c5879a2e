"""What a reel will be, take and cost, before it is submitted."""

from typing import Literal

from pydantic import Field

from phoenix.contract.jobs import WaitingReason
from phoenix.contract.requests import Quality
from phoenix.contract.resolved import Adjustment
from phoenix.contract.wire_types import View


class UnknownFigure(View):
    """A figure of an estimate that is null, and why."""

    name: str = Field(description="Name of the field.", examples=["render_s"])
    detail: str = Field(examples=["No clip of wan-2.2-t2v-a14b has been rendered here yet."])


class EstimatedClip(View):
    """A clip as it would be rendered."""

    index: int
    width: int = Field(description="Pixels of its file.")
    height: int = Field(description="Pixels of its file.")
    fps: int = Field(description="Frame rate of its file.")
    num_frames: int = Field(description="Frames of its file.")
    duration_s: float
    steps: int
    takes: int = Field(description="How many times it is made; the reel has one of them.")
    reused: int = Field(description="How many of its takes are there already and are not rendered.")
    render_s: float | None = Field(
        description="Seconds that its takes take to render, one after the other; null if unknown."
    )


class EstimatedPrice(View):
    """What the rendering costs."""

    amount: float
    currency: str = Field(description="ISO 4217.", examples=["USD"])
    basis: Literal["device_hour", "list_price"] = Field(
        description="`device_hour`: the operator's price of a device, for `render_s`. `list_price`: what the service "
        "of a remote model charges for the seconds of video."
    )


class WorkEstimate(View):
    """A reel as it would be rendered now. A figure that nobody knows is null, and `unknown` has the reason."""

    model: str
    quality: Quality
    width: int = Field(description="Pixels of the result.")
    height: int = Field(description="Pixels of the result.")
    fps: int = Field(description="Frame rate of the result.")
    duration_s: float = Field(description="Length of the result.")
    num_frames: int = Field(description="Frames of all clips.")
    renders: int = Field(description="Clips and takes that are rendered; reused ones are not counted.")
    clips: list[EstimatedClip]
    adjustments: list[Adjustment] = Field(description="Values that are rounded to what the model supports.")
    render_s: float | None = Field(
        description="Seconds of device time: of all renders, from what such clips took here before."
    )
    queue_position: int | None = Field(description="How many jobs would start before it.")
    waiting_reason: WaitingReason | None = Field(description="What it would wait for; null for a reel that is held.")
    wait_s: float | None = Field(description="Seconds until its first clip starts.")
    eta_s: float | None = Field(description="Seconds until it is done.")
    price: EstimatedPrice | None
    unknown: list[UnknownFigure] = Field(description="Why figures are null.")


class Estimate(WorkEstimate):
    """What a reel will be, take and cost. Nothing is stored, and no place in the queue is kept."""

    draft: WorkEstimate | None = Field(
        default=None, description="The draft that the reel is held for; null without `hold`."
    )
