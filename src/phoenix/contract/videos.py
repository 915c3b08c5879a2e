"""The videos of OpenAI's and OpenRouter's APIs, as their clients send and read them: reels and jobs in other terms."""

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, Json, model_validator

from phoenix.contract.requests import (
    ArtifactRef,
    ClipRequest,
    DurationS,
    LoraRequests,
    PostprocessorId,
    Quality,
    UpscaleRequest,
)
from phoenix.contract.wire_types import (
    MAX_CLIPS,
    AspectRatio,
    FramesPerSecond,
    GuidanceScale,
    ModelId,
    NegativePrompt,
    Omittable,
    Prompt,
    Request,
    Resolution,
    Seed,
    Steps,
    Text,
    Timestamp,
    View,
    WebhookUrl,
)

VIDEO_ID_PATTERN = r"^video_[0-9a-z]{26}$"
SIZE_PATTERN = r"^[0-9]{2,5}x[0-9]{2,5}$"

_NUMBER_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,6})?$"
VideoStatus = Literal["queued", "in_progress", "completed", "failed", "pending", "cancelled", "expired"]
"""The last three are for videos that were asked for in OpenRouter's form."""

MAX_REFERENCES = 14
"""Reference pictures of a video. With a first and a last frame, they are as many conditions as a clip may have."""


def _read_json(given: object) -> object:
    # The SDKs flatten everything but strings: only the last object of a list would arrive.
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None


def _read_number(given: object) -> object:
    return float(given) if isinstance(given, str) and re.fullmatch(_NUMBER_PATTERN, given) else given


_NumberAsText = Annotated[str, Field(pattern=_NUMBER_PATTERN)]
_Seconds = Annotated[DurationS, BeforeValidator(_read_number, json_schema_input_type=DurationS | _NumberAsText)]
_Clips = Annotated[list[ClipRequest], Field(min_length=1, max_length=MAX_CLIPS)]
_ClipsOrText = Annotated[_Clips, BeforeValidator(_read_json, json_schema_input_type=_Clips | Json[Any])]
_LorasOrText = Annotated[LoraRequests, BeforeValidator(_read_json, json_schema_input_type=LoraRequests | Json[Any])]


PictureUrl = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=8192,
        description="An `https` URL that needs no login, or a data URL in base64, of any length.",
        examples=["https://example.com/first.png"],
    ),
]


class VideoReference(Request):
    """A picture to start the video from: an uploaded one or the URL of one, exactly one of the two."""

    file_id: Omittable[ArtifactRef] = Field(
        default=None, description="Id of an uploaded picture: see POST /v1/uploads."
    )
    image_url: Omittable[PictureUrl] = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.file_id is None) == (self.image_url is None):
            raise ValueError("give either file_id or image_url")
        return self


class PictureAddress(Request):
    """Where a picture is."""

    url: PictureUrl


class PictureReference(Request):
    """A picture that the video takes persons, things or a style from, for models with the role `reference`."""

    type: Literal["image_url"]
    image_url: PictureAddress


class FrameImage(PictureReference):
    """A picture that the video begins or ends with, for models with that role."""

    frame_type: Literal["first_frame", "last_frame"]


def _in_lower_case(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


class VideoRequest(Request):
    """A request for a video: the form of OpenAI's SDKs, the same fields in JSON, or OpenRouter's JSON."""

    prompt: Prompt = Field(
        description="Text that describes what the video shows; with `clips`, only the title of the video."
    )
    model: Omittable[ModelId] = Field(
        default=None,
        description="An id of GET /v1/models, or a name of PHOENIX_VIDEOS__MODELS; the server's default if left out.",
    )
    seconds: Omittable[_Seconds] = Field(default=None, description="Seconds of each clip, as text or number.")
    size: Omittable[Annotated[str, Field(pattern=SIZE_PATTERN, examples=["1280x720"])]] = Field(
        default=None, description="Width and height in pixels: a size that the model makes."
    )
    input_reference: Omittable[VideoReference] = Field(
        default=None, description="First frame, for models that take a picture. In a form it may be the file itself."
    )
    clips: Omittable[_ClipsOrText] = Field(
        default=None, description="A whole reel: the clips of POST /v1/reels, in a form as JSON text."
    )
    negative_prompt: Omittable[NegativePrompt] = None
    seed: Omittable[Seed] = None
    steps: Omittable[Steps] = None
    fps: Omittable[FramesPerSecond] = None
    guidance_scale: Omittable[GuidanceScale] = None
    quality: Omittable[Quality] = Field(default=None, description="A tier of the model; `standard` if left out.")
    loras: Omittable[_LorasOrText] = Field(
        default=None, description="Adapters of the model, in a form as JSON text: see POST /v1/reels."
    )
    upscale: Omittable[UpscaleRequest] = Field(
        default=None, description="Enlarges what the model makes; `size` is what the model makes."
    )
    interpolate: Omittable[PostprocessorId] = Field(
        default=None, description="Makes the frames between those of the model, for `fps`."
    )
    user: Omittable[Annotated[Text, Field(max_length=512)]] = Field(
        default=None, description="Your name for a user of yours. It is kept in the metadata of the job."
    )
    duration: Omittable[_Seconds] = Field(default=None, description="OpenRouter's name of `seconds`.")
    resolution: Omittable[Annotated[Resolution, BeforeValidator(_in_lower_case)]] = Field(
        default=None, description="With `aspect_ratio`, OpenRouter's way to give a size."
    )
    aspect_ratio: Omittable[AspectRatio] = None
    frame_images: Omittable[Annotated[list[FrameImage], Field(max_length=2)]] = Field(
        default=None, description="First and last frame, for models that take them."
    )
    input_references: Omittable[Annotated[list[PictureReference], Field(max_length=MAX_REFERENCES)]] = Field(
        default=None, description="Reference pictures, for models that take them."
    )
    generate_audio: Omittable[Annotated[bool, Field(strict=True)]] = Field(
        default=None, description="Whether the video has sound; true only for models that make sound."
    )
    callback_url: Omittable[WebhookUrl] = Field(
        default=None, description="A URL of yours that gets a webhook in OpenRouter's form when the video ends."
    )
    provider: Omittable[dict[str, Any]] = Field(
        default=None, description="Options for single providers of OpenRouter. None of them is here to read them."
    )

    @property
    def is_routed(self) -> bool:
        """Whether the request has a field that only OpenRouter's clients send, so that they read the answer."""
        return not self.model_fields_set.isdisjoint(_ROUTED)

    @model_validator(mode="after")
    def _names_nothing_twice(self) -> Self:
        if self.seconds is not None and self.duration is not None:
            raise ValueError("give seconds or duration, not both")
        if self.size is not None and (self.resolution is not None or self.aspect_ratio is not None):
            raise ValueError("give size, or resolution and aspect_ratio, not both")
        if self.input_reference is not None and self.frame_images:
            raise ValueError("give input_reference or frame_images, not both")
        return self


_ROUTED = {
    "duration",
    "resolution",
    "aspect_ratio",
    "frame_images",
    "input_references",
    "generate_audio",
    "callback_url",
    "provider",
}


class ExtendedVideo(Request):
    """The video that is extended or edited."""

    id: Annotated[str, Field(pattern=VIDEO_ID_PATTERN, description="Id of a completed video.")]


class VideoExtensionRequest(Request):
    """A request to continue a video from its end."""

    prompt: Prompt = Field(description="Text that describes what the video shows after its present end.")
    seconds: Omittable[_Seconds] = Field(
        default=None, description="Seconds that are added, as text or number; the model's default if left out."
    )
    video: ExtendedVideo = Field(
        description="The completed video. In a form it may be the file itself, as it was downloaded."
    )


class VideoEditRequest(Request):
    """A request to change what a video shows, and to keep how it moves."""

    prompt: Prompt = Field(description="Text that describes what the new video shows.")
    video: Omittable[ExtendedVideo] = Field(
        default=None, description="The completed video. In a form it may be the file itself."
    )
    model: Omittable[ModelId] = Field(
        default=None,
        description="A model that takes a `source_video`; the model of the video, or else PHOENIX_VIDEOS__EDIT_MODEL, "
        "if left out.",
    )


class VideoRemixRequest(Request):
    """A request to render the same video with another prompt."""

    prompt: Prompt = Field(description="Text that describes what the new video shows.")


class VideoError(View):
    """The reason why a video failed."""

    code: str = Field(description="The job's error code in lower case, or `cancelled` or `expired`.")
    message: str


class Video(View):
    """A reel in the shape of OpenAI's and OpenRouter's videos. Its id is the job's, with `video_` for `job_`.

    A video that was asked for with a field that only OpenRouter has, is `pending`, `cancelled` or `expired`, and has
    text as its `error`, as OpenRouter's clients read it.
    """

    id: str = Field(examples=["video_01kag3e9zq4f7w5m8x2c6b0n1d"])
    object: Literal["video"] = "video"
    model: str
    status: VideoStatus
    progress: int = Field(ge=0, le=100, description="Percent that is done.")
    created_at: int = Field(description="Unix time, in seconds.")
    completed_at: int | None = None
    expires_at: int | None = None
    error: VideoError | str | None = None
    prompt: str
    remixed_from_video_id: str | None = Field(default=None, description="The video that this is a remix of.")
    seconds: str = Field(description="Seconds of the whole video.", examples=["4"])
    size: str = Field(examples=["1280x720"])
    polling_url: str = Field(description="Absolute URL of this video, which needs your key.")
    unsigned_urls: list[str] = Field(
        default_factory=list[str],
        description="Absolute URLs of the file, which work without a key until they expire. Empty until completed.",
    )


class VideoModel(View):
    """A model in the shape of OpenRouter's list of models for videos."""

    id: str
    canonical_slug: str = Field(description="The id in GET /v1/models, which differs for a name that settings add.")
    name: str
    description: str
    created: int = Field(description="Always 0: the catalog has no dates.")
    supported_resolutions: list[Resolution]
    supported_aspect_ratios: list[AspectRatio]
    supported_sizes: list[str] = Field(examples=[["1280x720"]])
    supported_durations: list[int] = Field(description="Whole seconds; a model takes the lengths between them, too.")
    supported_frame_images: list[Literal["first_frame", "last_frame"]]
    generate_audio: bool = Field(description="Whether its clips have sound.")
    seed: bool
    allowed_passthrough_parameters: list[str] = Field(description="Fields that are no part of OpenRouter's API.")


class VideoModelList(View):
    """The models of this server as OpenRouter lists them."""

    data: list[VideoModel]


class VideoList(View):
    """A page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None = Field(description="Pass it as `after` to get the next page.")
    has_more: bool


class VideoDeleted(View):
    """The answer to the deletion of a video."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class CallbackVideo(View):
    """A video that has ended. `GET /v1/videos/{video_id}` has the rest."""

    id: str = Field(examples=["video_01kag3e9zq4f7w5m8x2c6b0n1d"])
    status: Literal["completed", "failed", "cancelled", "expired"]
    unsigned_urls: list[str] = Field(description="Where the file is, which needs your key. Empty unless completed.")
    error: str | None = None


class VideoCallback(View):
    """The webhook of a video that was asked for with a field that only OpenRouter has, in OpenRouter's form."""

    type: Literal[
        "video.generation.completed",
        "video.generation.failed",
        "video.generation.cancelled",
        "video.generation.expired",
    ]
    created_at: Timestamp
    data: CallbackVideo


class VideoFault(View):
    """An error, with the field that caused it."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(description="The invalid field.")
    code: str = Field(description="The problem's code in lower case.")


class VideoProblem(View):
    """An error as OpenAI's SDKs read it. These routes send it in place of problem+json."""

    error: VideoFault
