"""Bodies that clients send. What a model can do is not checked here but in `catalog.admission`."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, HttpUrl, UrlConstraints, model_validator

from phoenix.contract.base import (
    MAX_CLIPS,
    AspectRatio,
    Omittable,
    Priority,
    Prompt,
    Request,
    Resolution,
    Seed,
    TerminalEventType,
)
from phoenix.ids import ARTIFACT_ID_PATTERN


def _refuse_control_characters(url: object) -> object:
    # URL parsers silently drop line breaks: the URL that is called would not be the one that was written.
    if isinstance(url, str) and re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a URL has no spaces and no control characters")
    return url


_AsWritten = BeforeValidator(_refuse_control_characters)
_HTTPS = Field(json_schema_extra={"pattern": "^https://"})
HttpsUrl = Annotated[HttpUrl, UrlConstraints(allowed_schemes=["https"], max_length=2048), _AsWritten, _HTTPS]
WebhookUrl = Annotated[HttpUrl, UrlConstraints(allowed_schemes=["https", "http"], max_length=2048), _AsWritten]
"""Plain `http` is for servers that allow it, within their own network."""
ArtifactRef = Annotated[str, Field(pattern=ARTIFACT_ID_PATTERN, examples=["art_01kag3e9zq4f7w5m8x2c6b0n1d"])]
DurationS = Annotated[float, Field(gt=0, le=600, description="Seconds.")]
FadeS = Annotated[float, Field(ge=0, le=60, description="Seconds.")]


def _is_none(value: object) -> bool:
    return value is None


class ClipRequest(Request):
    """One clip of a reel. What it leaves out comes from the reel, and then from the model's catalog entry."""

    prompt: Prompt
    negative_prompt: Omittable[Annotated[str, Field(max_length=4000)]] = None
    duration_s: Omittable[DurationS] = None
    seed: Omittable[Seed] = None
    steps: Omittable[Annotated[int, Field(ge=1, le=1000)]] = None
    guidance_scale: Omittable[Annotated[float, Field(ge=0, le=50)]] = None
    image_artifact_id: Omittable[ArtifactRef] = Field(
        default=None, description="First frame, for models that take an image."
    )


class SoundtrackRequest(Request):
    """Sound to lay under the picture: an uploaded artifact or an `https` URL, exactly one of the two."""

    # It is also part of a job's view, where a field that was not given is left out, as the schema says.
    artifact_id: Omittable[ArtifactRef] = Field(default=None, exclude_if=_is_none)
    url: Omittable[HttpsUrl] = Field(default=None, exclude_if=_is_none)
    start_s: Annotated[float, Field(ge=0, le=36000)] = Field(default=0, description="Where in the sound to begin.")
    fade_in_s: FadeS = 0
    fade_out_s: FadeS = 0
    loudness_lufs: Annotated[float, Field(ge=-40, le=-5)] = Field(
        default=-16, description="Integrated loudness of the result (EBU R 128)."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> "SoundtrackRequest":
        if (self.artifact_id is None) == (self.url is None):
            raise ValueError("give either artifact_id or url")
        return self


class Transition(Request):
    """How one clip becomes the next. A crossfade overlaps the clips, so it shortens the result."""

    kind: Literal["cut", "crossfade"] = "cut"
    duration_s: Annotated[float, Field(ge=0.05, le=5)] = Field(
        default=0.5, description="Seconds that a crossfade takes."
    )


class WebhookRequest(Request):
    url: WebhookUrl
    events: Omittable[list[TerminalEventType]] = Field(
        default=None, description="Which events to send; all terminal ones if left out."
    )


Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64)],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=32, description="Yours: returned unchanged with the job."),
]


class JobOptions(Request):
    """What every kind of job takes."""

    priority: Priority = Field(default="normal", description="A head start in the queue; nothing starves.")
    queue_timeout_s: Omittable[Annotated[float, Field(gt=0, le=7 * 86400)]] = Field(
        default=None, description="Longest wait for a first worker; then the job is `expired` with TIMEOUT."
    )
    run_timeout_s: Omittable[Annotated[float, Field(gt=0, le=7 * 86400)]] = Field(
        default=None, description="Longest run once started; then the job is `failed` with RUN_TIMEOUT."
    )
    webhook: Omittable[WebhookRequest] = None
    metadata: Metadata = Field(default_factory=dict, json_schema_extra={"default": {}})


class ReelRequest(JobOptions):
    """An ordered list of clips, rendered by one model, joined, with an optional soundtrack under them."""

    model: Omittable[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default=None, description="An id of GET /v1/models; the server's default if left out."
    )
    clips: Annotated[list[ClipRequest], Field(min_length=1, max_length=MAX_CLIPS)]
    negative_prompt: Omittable[Annotated[str, Field(max_length=4000)]] = None
    duration_s: Omittable[DurationS] = Field(default=None, description="Length of each clip, in seconds.")
    aspect_ratio: Omittable[AspectRatio] = None
    resolution: Omittable[Resolution] = Field(
        default=None, description="Shorter side in pixels, rounded to what the model can do."
    )
    fps: Omittable[Annotated[int, Field(ge=1, le=60)]] = None
    steps: Omittable[Annotated[int, Field(ge=1, le=1000)]] = None
    guidance_scale: Omittable[Annotated[float, Field(ge=0, le=50)]] = None
    seed: Omittable[Seed] = Field(
        default=None, description="Clip i uses seed + i unless it has its own; drawn at random if left out."
    )
    soundtrack: Omittable[SoundtrackRequest] = None
    deterministic: bool = Field(
        default=False,
        description="Render each clip alone. Clips that share a call with others may differ in the last digits.",
    )
    transition: Transition = Transition()


class StitchRequest(JobOptions):
    """Joins existing video artifacts in order. The first one decides size and frame rate."""

    artifact_ids: Annotated[list[ArtifactRef], Field(min_length=1, max_length=MAX_CLIPS)]
    soundtrack: Omittable[SoundtrackRequest] = None
    transition: Transition = Transition()


class SoundtrackJobRequest(JobOptions):
    """Makes a sound ready for later use: trimmed, faded, brought to a loudness and a length."""

    source: SoundtrackRequest
    duration_s: Omittable[Annotated[float, Field(gt=0, le=3600)]] = Field(
        default=None,
        description="Trims or pads the result to this length; as long as the source if left out.",
    )
