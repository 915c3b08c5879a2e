"""Bodies that clients send. `catalog.admission` checks them against the limits of the model."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from phoenix.contract.conditions import ArtifactRef, ClipSource, Condition, Conditions
from phoenix.contract.wire_types import (
    MAX_CLIPS,
    NO_NUL,
    NUMBER,
    TEXT_PATTERN,
    WHOLE,
    AspectRatio,
    CaptionMode,
    CaptionText,
    ClipSound,
    FitNarration,
    FramesPerSecond,
    GuidanceScale,
    HttpsUrl,
    ModelId,
    NarrationText,
    NegativePrompt,
    Omittable,
    OnFailedCheck,
    Priority,
    Prompt,
    Request,
    Resolution,
    Seed,
    Steps,
    Tags,
    Text,
    VoiceName,
    WebhookEventType,
    WebhookUrl,
)

DurationS = Annotated[float, Field(gt=0, le=600, description="Seconds."), NUMBER]
FadeS = Annotated[float, Field(ge=0, le=60, description="Seconds."), NUMBER]


def _is_none(value: object) -> bool:
    return value is None


Quality = Literal["draft", "standard", "high"]
"""A tier of a model: how much time it takes for a clip. Every model has `standard`."""

MAX_LORAS = 4
"""The most adapters of one clip. Each adds work to every layer that it changes."""

AdapterId = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="An id of `adapters` in GET /v1/models."),
]


class LoraRequest(Request):
    """An adapter of the model, and how strongly it acts."""

    id: AdapterId
    scale: Omittable[Annotated[float, Field(ge=-100, le=100), NUMBER]] = Field(
        default=None, description="The default of the adapter if left out. A scale of 0 switches it off."
    )


PostprocessorId = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="An id of `upscalers` or `interpolators` in GET /v1/models.",
    ),
]


class UpscaleRequest(Request):
    """A model that enlarges each frame of each clip."""

    id: PostprocessorId
    scale: Omittable[Annotated[float, Field(ge=1, le=8), NUMBER]] = Field(
        default=None, description="How many times as wide and as high; the `factor` of the upscaler if left out."
    )


LoraRequests = Annotated[list[LoraRequest], Field(max_length=2 * MAX_LORAS)]
"""The catalog refuses more than `MAX_LORAS`, with the number in its message."""


class FaceRegion(Request):
    """Where the face is: a rectangle in pixels of the picture, from its left and its top."""

    x: Annotated[int, Field(ge=0, le=100_000), WHOLE]
    y: Annotated[int, Field(ge=0, le=100_000), WHOLE]
    width: Annotated[int, Field(ge=16, le=100_000), WHOLE]
    height: Annotated[int, Field(ge=16, le=100_000), WHOLE]


class ClipLipsync(Request):
    """How the lips of a clip move. `true` stands for an object without fields, and `false` for lips that stay."""

    model: Omittable[ModelId] = Field(
        default=None, description="An id of `lip_models` in GET /v1/models; the server's default if left out."
    )
    box: Omittable[FaceRegion] = Field(
        default=None,
        description="Where the face is in every frame of the clip's file. The server looks for it if left out, if it "
        "can. The animatic draws a puppet with a face there, or in the middle.",
    )


class _ShownAsSwitchOrObject:
    """Adds `true` and `false` to the schema, and leaves null out, as `Omittable` does."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        choices = [choice for choice in handler(schema)["anyOf"] if choice != {"type": "null"}]
        return {"anyOf": [{"type": "boolean"}, *choices]}


def _switch_as_object(value: object) -> object:
    # A union would report its errors at places that are not in the body.
    return {} if value is True else None if value is False else value


LipSync = Annotated[ClipLipsync | None, BeforeValidator(_switch_as_object), _ShownAsSwitchOrObject()]

MAX_TAKES = 8
TAKE_SEED_STEP = MAX_CLIPS
"""How far the seeds of two takes are apart: more than the seeds of two clips that a reel numbers from one seed."""


class ClipRequest(Request):
    """One clip of a reel. A field that is left out comes from the reel, or else from the model's catalog entry."""

    prompt: Prompt
    negative_prompt: Omittable[NegativePrompt] = None
    duration_s: Omittable[DurationS] = None
    seed: Omittable[Seed] = None
    steps: Omittable[Steps] = None
    guidance_scale: Omittable[GuidanceScale] = None
    loras: Omittable[LoraRequests] = Field(
        default=None, description="Replaces the list of the reel. An empty list stands for no adapter."
    )
    conditions: Conditions = Field(
        default_factory=list[Condition],
        description="Pictures, videos and sounds that guide the clip, for models that take them.",
        json_schema_extra={"default": []},
    )
    caption: Omittable[CaptionText] = None
    narration: Omittable[NarrationText] = None
    lip_sync: LipSync = Field(
        default=None,
        description="Moves the lips of the face in the clip, so that it says the narration of the clip, or else its "
        "condition with the role `audio`. That sound is then the sound of the clip.",
    )
    takes: Omittable[Annotated[int, Field(ge=1, le=MAX_TAKES), WHOLE]] = Field(
        default=None,
        description=f"Render the clip so many times; take t has the seed of the clip + {TAKE_SEED_STEP} t.",
    )
    take: Omittable[Annotated[int, Field(ge=0, lt=MAX_TAKES), WHOLE]] = Field(
        default=None, description="The take that the reel shows, from 0; the first one if left out."
    )

    @model_validator(mode="after")
    def _has_the_take(self) -> Self:
        if (self.take or 0) >= (self.takes or 1):
            raise ValueError("take is the number of a take, from 0: less than takes")
        return self


class SoundSource(Request):
    """A sound and how to prepare it: an uploaded artifact or an `https` URL, exactly one of the two."""

    # This type is also part of a job's view; a field that was not given is left out there, as the schema says.
    artifact_id: Omittable[ArtifactRef] = Field(default=None, exclude_if=_is_none)
    url: Omittable[HttpsUrl] = Field(default=None, exclude_if=_is_none)
    start_s: Annotated[float, Field(ge=0, le=36000), NUMBER] = Field(
        default=0, description="Seconds of the sound to skip at its beginning."
    )
    fade_in_s: FadeS = 0
    fade_out_s: FadeS = 0
    loudness_lufs: Annotated[float, Field(ge=-40, le=-5), NUMBER] = Field(
        default=-16, description="Integrated loudness of the result (EBU R 128)."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.artifact_id is None) == (self.url is None):
            raise ValueError("give either artifact_id or url")
        return self


class SoundtrackRequest(SoundSource):
    """The soundtrack of a result: an uploaded artifact or an `https` URL, exactly one of the two."""

    clip_sound_db: Annotated[float, Field(ge=-60, le=20), NUMBER] = Field(
        default=-12,
        description="How much louder the sound of the clips is than the soundtrack, in decibels; negative for quieter.",
    )


KeptSound = Annotated[
    ClipSound,
    Field(
        description="Whether the result has the sound of its clips. A soundtrack is mixed with the sound that is kept."
    ),
]


class Transition(Request):
    """The transition between two clips. A crossfade overlaps the clips, so it shortens the result."""

    kind: Literal["cut", "crossfade"] = "cut"
    duration_s: Annotated[float, Field(ge=0.05, le=5), NUMBER] = Field(
        default=0.5, description="Seconds that a crossfade takes."
    )


class WebhookRequest(Request):
    """A URL of yours that is called when the job ends, and when it awaits an approval."""

    url: WebhookUrl
    events: Omittable[list[WebhookEventType]] = Field(
        default=None, description="Which events to send; all if left out."
    )


def _refuse_nul(key: str) -> str:
    # A pattern would make the schema one of `patternProperties`, from which generated clients make no dictionary.
    if "\0" in key:
        raise ValueError(NO_NUL)
    return key


_KEYS: JsonDict = {"minLength": 1, "maxLength": 64, "pattern": TEXT_PATTERN}
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_refuse_nul)],
        Annotated[Text, Field(max_length=512)],
    ],
    Field(max_length=32, description="Data of yours, returned unchanged with the job."),
]


Title = Annotated[Text, Field(min_length=1, max_length=200, description="A name of yours for the job.")]


QueueTimeoutS = Annotated[float, Field(gt=0, le=7 * 86400), NUMBER]


class JobOptions(Request):
    """The options of every kind of job."""

    title: Omittable[Title] = None
    tags: Tags = Field(default_factory=list[str], json_schema_extra={"default": []})
    priority: Priority = Field(
        default="normal", description="`high` moves the job forward in the queue and `low` back; no job waits forever."
    )
    queue_timeout_s: Omittable[QueueTimeoutS] = Field(
        default=None, description="Longest wait for a first worker; then the job is `expired` with TIMEOUT."
    )
    run_timeout_s: Omittable[Annotated[float, Field(gt=0, le=7 * 86400), NUMBER]] = Field(
        default=None, description="Longest run once started; then the job is `failed` with RUN_TIMEOUT."
    )
    webhook: Omittable[WebhookRequest] = None
    metadata: Metadata = Field(default_factory=dict, json_schema_extra={"default": {}, "propertyNames": _KEYS})


HoldMode = Literal["draft"]


class DraftRequest(Request):
    """How the draft of a reel is rendered."""

    model: Omittable[ModelId] = Field(
        default=None, description="`animatic` if left out, or with a `quality` the model of the reel."
    )
    quality: Omittable[Quality] = None


class ReelRequest(JobOptions):
    """A list of clips, which one model renders and which are joined in order, with an optional soundtrack."""

    model: Omittable[ModelId] = Field(
        default=None, description="An id of GET /v1/models; the server's default if left out."
    )
    extends: Omittable[ClipSource] = Field(
        default=None,
        description="A finished clip that comes first in the result. The first clip begins with its last frame, unless "
        "the first clip has a `first_frame` or a `source_video` of its own.",
    )
    clips: Annotated[list[ClipRequest], Field(min_length=1, max_length=MAX_CLIPS)]
    negative_prompt: Omittable[NegativePrompt] = None
    duration_s: Omittable[DurationS] = Field(default=None, description="Length of each clip, in seconds.")
    aspect_ratio: Omittable[AspectRatio] = None
    resolution: Omittable[Resolution] = Field(
        default=None, description="Shorter side in pixels, rounded to a size that the model makes."
    )
    fps: Omittable[FramesPerSecond] = None
    upscale: Omittable[UpscaleRequest] = Field(
        default=None, description="Enlarges what the model makes; `resolution` is what the model makes."
    )
    interpolate: Omittable[PostprocessorId] = Field(
        default=None,
        description="Makes the frames between those of the model, for `fps`; for twice the rate of the model without "
        "`fps`.",
    )
    steps: Omittable[Steps] = None
    guidance_scale: Omittable[GuidanceScale] = None
    quality: Quality = Field(
        default="standard",
        description="A tier of the model: `draft` takes less time, and `high` more. It decides what is left out here.",
    )
    loras: Omittable[LoraRequests] = Field(default=None, description="Adapters of each clip without a list of its own.")
    seed: Omittable[Seed] = Field(
        default=None, description="Clip i uses seed + i unless it has its own; drawn at random if left out."
    )
    soundtrack: Omittable[SoundtrackRequest] = None
    clip_sound: KeptSound = "keep"
    captions: CaptionMode = "track"
    voice: Omittable[VoiceName] = None
    fit_narration: FitNarration = False
    deterministic: bool = Field(
        default=False,
        strict=True,
        description="Render each clip alone. The pixels of a clip that is batched with others may differ slightly.",
    )
    transition: Transition = Transition()
    reuse: bool = Field(
        default=True,
        strict=True,
        description="Take the file of an equal clip of yours instead of rendering the clip again. Clips whose seed is "
        "drawn at random, and clips of remote models, are always rendered.",
    )
    on_failed_check: OnFailedCheck = Field(
        default="report",
        description="`reroll` renders a clip that fails a check again, once, with the next seed.",
    )
    hold: Omittable[HoldMode] = Field(
        default=None,
        description="`draft` renders a draft first, with the same prompts, seeds and lengths. The reel waits until the "
        "draft is approved by `POST /v1/jobs/{job_id}/approve`.",
    )
    draft: Omittable[DraftRequest] = Field(default=None, description="Only together with `hold`.")

    @model_validator(mode="after")
    def _holds_for_its_draft(self) -> Self:
        if self.draft is not None and self.hold is None:
            raise ValueError("draft needs hold")
        return self


class StitchRequest(JobOptions):
    """Existing video artifacts to join in order. The first video decides size and frame rate."""

    artifact_ids: Annotated[list[ArtifactRef], Field(min_length=1, max_length=MAX_CLIPS)]
    soundtrack: Omittable[SoundtrackRequest] = None
    clip_sound: KeptSound = "keep"
    transition: Transition = Transition()


WhenShorter = Literal["loop", "hold", "trim"]


class LipsyncRequest(JobOptions):
    """A video or a picture whose face says a sound. The result is as long as the sound."""

    video: Annotated[ArtifactRef, Field(description="The artifact with the face: a video or a picture.")]
    audio: Annotated[ArtifactRef, Field(description="The artifact with the sound.")]
    model: Omittable[ModelId] = Field(
        default=None, description="An id of `lip_models` in GET /v1/models; the server's default if left out."
    )
    box: Omittable[FaceRegion] = Field(
        default=None, description="Where the face is in every frame. The server looks for it if left out, if it can."
    )
    when_shorter: WhenShorter = Field(
        default="loop",
        description="If the video is shorter than the sound: `loop` begins it again, `hold` shows its last frame, and "
        "`trim` cuts the sound.",
    )
    sound: Literal["replace", "keep"] = Field(
        default="replace",
        description="`replace` gives the result the sound that the face says, and `keep` the sound of the video.",
    )


class SoundtrackJobRequest(JobOptions):
    """A sound to prepare for later use: trimmed, faded, and brought to a loudness and a length."""

    source: SoundSource
    duration_s: Omittable[Annotated[float, Field(gt=0, le=3600), NUMBER]] = Field(
        default=None,
        description="Length of the result in seconds, by trimming or padding; the length of the source if left out.",
    )
