"""The videos of OpenAI's API, as its SDKs send and read them: reels and jobs in other terms."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Json

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
    FramesPerSecond,
    GuidanceScale,
    ModelId,
    NegativePrompt,
    Omittable,
    Prompt,
    Request,
    Seed,
    Steps,
    View,
)

VIDEO_ID_PATTERN = r"^video_[0-9a-z]{26}$"
SIZE_PATTERN = r"^[0-9]{2,5}x[0-9]{2,5}$"

_NUMBER_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,6})?$"
VideoStatus = Literal["queued", "in_progress", "completed", "failed"]


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


class VideoReference(Request):
    """A picture to start the video from."""

    file_id: ArtifactRef = Field(description="Id of an uploaded picture: see POST /v1/uploads.")


class VideoRequest(Request):
    """A request for a video, as OpenAI's SDKs send it: a form, or the same fields in JSON."""

    prompt: Prompt = Field(
        description="Text that describes what the video shows; with `clips`, only the title of the video."
    )
    model: Omittable[ModelId] = Field(
        default=None, description="An id of GET /v1/models; the server's default if left out."
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


class ExtendedVideo(Request):
    """The video that is extended."""

    id: Annotated[str, Field(pattern=VIDEO_ID_PATTERN, description="Id of a completed video.")]


class VideoExtensionRequest(Request):
    """A request to continue a video from its end."""

    prompt: Prompt = Field(description="Text that describes what the video shows after its present end.")
    seconds: Omittable[_Seconds] = Field(
        default=None, description="Seconds that are added, as text or number; the model's default if left out."
    )
    video: ExtendedVideo


class VideoRemixRequest(Request):
    """A request to render the same video with another prompt."""

    prompt: Prompt = Field(description="Text that describes what the new video shows.")


class VideoError(View):
    """The reason why a video failed."""

    code: str = Field(description="The job's error code in lower case, or `cancelled` or `expired`.")
    message: str


class Video(View):
    """A reel in the shape of OpenAI's videos. Its id is the job's, with `video_` in place of `job_`."""

    id: str = Field(examples=["video_01kag3e9zq4f7w5m8x2c6b0n1d"])
    object: Literal["video"] = "video"
    model: str
    status: VideoStatus
    progress: int = Field(ge=0, le=100, description="Percent that is done.")
    created_at: int = Field(description="Unix time, in seconds.")
    completed_at: int | None = None
    expires_at: int | None = None
    error: VideoError | None = None
    prompt: str
    remixed_from_video_id: str | None = Field(default=None, description="The video that this is a remix of.")
    seconds: str = Field(description="Seconds of the whole video.", examples=["4"])
    size: str = Field(examples=["1280x720"])


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


class VideoFault(View):
    """An error, with the field that caused it."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(description="The invalid field.")
    code: str = Field(description="The problem's code in lower case.")


class VideoProblem(View):
    """An error as OpenAI's SDKs read it. These routes send it in place of problem+json."""

    error: VideoFault
