"""Requests after admission: every default is filled in, and the model supports every number. Stored with the job."""

from typing import Annotated, Literal

from pydantic import Field

from phoenix.contract.requests import SoundtrackRequest, Transition
from phoenix.contract.wire_types import AspectRatio, Resolution, View


class Adjustment(View):
    """A value that was rounded to a value that the model supports. Every rounding is reported."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the request.", examples=["/clips/0/duration_s"])
    requested: str
    resolved: str
    reason: str


class ResolvedClip(View):
    """Everything that an engine needs to render one clip reproducibly."""

    index: int
    prompt: str
    negative_prompt: str = ""
    seed: int
    steps: int
    guidance_scale: float
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    fps: int
    num_frames: int
    image_artifact_id: str | None = None
    deterministic: bool = False

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.fps


class ResolvedReel(View):
    """A reel with every default filled in."""

    kind: Literal["reel"] = "reel"
    model: str
    is_remote: bool = Field(default=False, description="Whether a service over the network renders it.")
    aspect_ratio: AspectRatio
    resolution: Resolution
    width: int
    height: int
    fps: int
    clips: list[ResolvedClip]
    transition: Transition
    soundtrack: SoundtrackRequest | None = None
    adjustments: list[Adjustment] = Field(default_factory=list[Adjustment])


class ResolvedStitch(View):
    """A stitch with every default filled in."""

    kind: Literal["stitch"] = "stitch"
    artifact_ids: list[str]
    transition: Transition
    soundtrack: SoundtrackRequest | None = None


class ResolvedSoundtrack(View):
    """A soundtrack job with every default filled in."""

    kind: Literal["soundtrack"] = "soundtrack"
    source: SoundtrackRequest
    duration_s: float | None = None


ResolvedRequest = Annotated[ResolvedReel | ResolvedStitch | ResolvedSoundtrack, Field(discriminator="kind")]
