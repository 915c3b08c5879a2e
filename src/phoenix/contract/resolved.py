"""Requests after admission: every default is filled in, and the model supports every number. Stored with the job."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from phoenix.contract.conditions import ResolvedCondition
from phoenix.contract.requests import FaceRegion, Quality, SoundSource, SoundtrackRequest, Transition, WhenShorter
from phoenix.contract.wire_types import AspectRatio, CaptionMode, ClipSound, OnFailedCheck, Resolution, View


class Adjustment(View):
    """A value that was rounded to a value that the model supports. Every rounding is reported."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the request.", examples=["/clips/0/duration_s"])
    requested: str
    resolved: str
    reason: str


class ResolvedLora(View):
    """An adapter of a clip, with its scale filled in."""

    id: str
    scale: float


class ResolvedUpscale(View):
    """How the frames of a clip are enlarged."""

    id: str
    scale: float
    width: int = Field(description="Pixels of the file.")
    height: int = Field(description="Pixels of the file.")


class ResolvedClipLips(View):
    """How the lips of a clip move."""

    model: str
    box: FaceRegion | None = Field(
        default=None, description="Where the face is in the frames of its file; null if a detector finds it."
    )
    follows: Literal["narration", "audio"] = Field(
        description="What the lips say: the narration of the clip, or its condition with the role `audio`."
    )


class StoredEntry(View):
    """An entry of the catalog when the request was accepted, as far as it decides the pixels. A retry uses it."""

    fingerprint: str = Field(description="SHA-256 of `fields`, in hexadecimal: equal for clips that must look equal.")
    fields: dict[str, Any] = Field(description="Fields of the entry, such as `source` and `revision`.")


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
    fps: int = Field(description="Frames per second that its model makes.")
    num_frames: int = Field(description="Frames that its model makes.")
    output_fps: int | None = Field(default=None, description="Frame rate of its file; null if it is `fps`.")
    upscale: ResolvedUpscale | None = Field(default=None, description="Null if its file has the size of its model.")
    interpolate: str | None = Field(
        default=None, description="What makes the frames for `output_fps`; frames are repeated or left out if null."
    )
    lip_sync: ResolvedClipLips | None = Field(
        default=None, description="Null if its lips stay as its model makes them."
    )
    loras: list[ResolvedLora] = Field(
        default_factory=list[ResolvedLora], description="In the order of their ids; the adapters of the tier included."
    )
    conditions: list[ResolvedCondition] = Field(default_factory=list[ResolvedCondition])
    deterministic: bool = False
    take: int = Field(default=0, description="Number of this take, from 0.")
    takes: int = Field(default=1, description="How many takes of the clip there are, this one included.")
    take_of: int | None = Field(
        default=None, description="Index of the clip of which this is another take; null for the take that is shown."
    )
    caption: str = Field(default="", description="Empty for no caption of its own.")
    narration: str = Field(default="", description="Empty for no narration.")
    keeps_sound: bool = Field(default=True, description="Whether the clip has the sound that its model makes, if any.")

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.fps

    @property
    def num_output_frames(self) -> int:
        """Frames of its file, which is as long as what the model makes."""
        return max(1, round(self.num_frames * (self.output_fps or self.fps) / self.fps))

    def frames_of_source(self, overlap_s: float | None) -> int:
        """Frames of a video that guides the clip: one for each frame of the clip, or the frames of `overlap_s`."""
        if overlap_s is None:
            return self.num_frames
        return max(1, min(self.num_frames, math.floor(overlap_s * self.fps)))

    @property
    def output_size(self) -> tuple[int, int]:
        """Width and height of its file, in pixels."""
        return (self.width, self.height) if self.upscale is None else (self.upscale.width, self.upscale.height)

    @property
    def postprocessors(self) -> tuple[str, ...]:
        """The ids of what changes its frames after its model, in the order of the changes."""
        after = (self.upscale and self.upscale.id, self.interpolate, self.lip_sync and self.lip_sync.model)
        return tuple(spec_id for spec_id in after if spec_id is not None)

    @property
    def place(self) -> int:
        """The index of the clip in the reel, for every take of it."""
        return self.index if self.take_of is None else self.take_of

    @property
    def says_narration(self) -> bool:
        """Whether its lips follow its narration, which has to be spoken before the clip is rendered."""
        return self.lip_sync is not None and self.lip_sync.follows == "narration"

    @property
    def says_audio(self) -> bool:
        """Whether its lips follow its condition with the role `audio`, which its model does not get then."""
        return self.lip_sync is not None and self.lip_sync.follows == "audio"

    @property
    def continues_previous(self) -> bool:
        """Whether a condition of the clip comes from the clip before it."""
        return any(condition.source.previous_clip for condition in self.conditions)


class ResolvedExtension(View):
    """The finished clip that a reel extends."""

    job_id: str
    clip_index: int
    artifact_id: str
    duration_s: float


class ResolvedVoice(View):
    """What speaks the narration of a reel."""

    engine: str = Field(description="`openai` for a compatible service, `piper` or `espeak`.")
    model: str | None = Field(default=None, description="The model of a service; null for other engines.")
    name: str = Field(description="The name of the voice.")


class ResolvedReel(View):
    """A reel with every default filled in."""

    kind: Literal["reel"] = "reel"
    model: str
    quality: Quality = "standard"
    entry: StoredEntry | None = Field(
        default=None, description="The entry of the model at this tier; null for a job of an earlier version."
    )
    adapters: dict[str, StoredEntry] = Field(
        default_factory=dict[str, StoredEntry], description="The entry of each adapter of its clips, by id."
    )
    postprocessors: dict[str, StoredEntry] = Field(
        default_factory=dict[str, StoredEntry],
        description="The entry of each upscaler, interpolator and lip model of its clips, by id.",
    )
    is_remote: bool = Field(default=False, description="Whether a service over the network renders it.")
    aspect_ratio: AspectRatio
    resolution: Resolution
    width: int = Field(description="Pixels of the result.")
    height: int = Field(description="Pixels of the result.")
    fps: int = Field(description="Frame rate of the result.")
    extends: ResolvedExtension | None = Field(default=None, description="The clip that comes first in the result.")
    clips: list[ResolvedClip]
    takes: list[ResolvedClip] = Field(
        default_factory=list[ResolvedClip],
        description="The takes that the reel does not show. Their indices follow the indices of the clips.",
    )
    transition: Transition
    soundtrack: SoundtrackRequest | None = None
    clip_sound: ClipSound = "keep"
    captions: CaptionMode = "track"
    voice: ResolvedVoice | None = Field(default=None, description="Null for a reel without narration.")
    on_failed_check: OnFailedCheck = "report"
    fit_narration: bool = Field(
        default=False, description="Whether a clip holds its last frame until its narration has ended."
    )
    adjustments: list[Adjustment] = Field(default_factory=list[Adjustment])

    @property
    def renders(self) -> list[ResolvedClip]:
        """Everything that is rendered, by index: the clips, and the takes that the reel does not show."""
        return [*self.clips, *self.takes]

    @property
    def narrated(self) -> list[ResolvedClip]:
        """The clips with a narration, in order."""
        return [clip for clip in self.clips if clip.narration]

    def position_of_narration(self, clip: ResolvedClip) -> int:
        """The position of the task that speaks a narrated clip: after everything that is rendered."""
        return len(self.renders) + [each.index for each in self.narrated].index(clip.index)

    def clip_of_narration(self, position: int) -> ResolvedClip:
        """The clip that the task at a position speaks."""
        return self.narrated[position - len(self.renders)]

    @property
    def part_lengths_s(self) -> list[float]:
        """Seconds of each part of the result, in order: of the clip that the reel extends, and of its own clips."""
        extended = [self.extends.duration_s] if self.extends else []
        return [*extended, *(clip.duration_s for clip in self.clips)]


class ResolvedStitch(View):
    """A stitch with every default filled in."""

    kind: Literal["stitch"] = "stitch"
    artifact_ids: list[str]
    transition: Transition
    soundtrack: SoundtrackRequest | None = None
    clip_sound: ClipSound = "keep"


class ResolvedSoundtrack(View):
    """A soundtrack job with every default filled in."""

    kind: Literal["soundtrack"] = "soundtrack"
    source: SoundSource
    duration_s: float | None = None


class ResolvedLipsync(View):
    """A lip-sync with every default filled in."""

    kind: Literal["lipsync"] = "lipsync"
    video: str
    audio: str
    model: str
    entry: StoredEntry = Field(description="The entry of the lip model.")
    box: FaceRegion | None = Field(default=None, description="Null if a detector finds the face.")
    when_shorter: WhenShorter = "loop"
    sound: Literal["replace", "keep"] = "replace"
    is_picture: bool = Field(default=False, description="Whether the face is in a still picture.")
    width: int = Field(description="Pixels of the result.")
    height: int = Field(description="Pixels of the result.")
    fps: float = Field(description="Frame rate of the result.")
    duration_s: float = Field(description="Length of the result, as far as it is known before.")
    parts: int = Field(default=1, description="In how many parts its frames are made, by as many workers as are free.")


ResolvedRequest = Annotated[
    ResolvedReel | ResolvedStitch | ResolvedSoundtrack | ResolvedLipsync, Field(discriminator="kind")
]
