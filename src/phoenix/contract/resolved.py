"""A request after admission: every default filled in, every number one that the model supports. Stored with the job."""

from typing import Annotated, Literal

from pydantic import Field

from phoenix.contract.base import AspectRatio, Resolution, View
from phoenix.contract.requests import SoundtrackRequest, Transition


class Adjustment(View):
    """A value that was rounded to what the model can do. Nothing is rounded without one of these."""

    pointer: str = Field(description="Into the request.", examples=["/clips/0/duration_s"])
    requested: str
    resolved: str
    reason: str


class ResolvedClip(View):
    """Everything that an engine needs to render one clip, reproducibly."""

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
    kind: Literal["stitch"] = "stitch"
    artifact_ids: list[str]
    transition: Transition
    soundtrack: SoundtrackRequest | None = None


class ResolvedSoundtrack(View):
    kind: Literal["soundtrack"] = "soundtrack"
    source: SoundtrackRequest
    duration_s: float | None = None


ResolvedRequest = Annotated[ResolvedReel | ResolvedStitch | ResolvedSoundtrack, Field(discriminator="kind")]
