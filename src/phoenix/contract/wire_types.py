"""The bases of all wire types, and the constrained scalars that the types share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    HttpUrl,
    UrlConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

MAX_CLIPS = 500
MAX_PROMPT_LENGTH = 4000


class Request(BaseModel):
    """A body that a client sends. Unknown fields are refused: a misspelt option must not be ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """A body that Phoenix sends. Fields with defaults are always present, and the schema says so."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class _ShownWithoutNull:
    """Leaves null out of the schema, because generated clients would send it as the text "None"."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(schema)
        choices = [choice for choice in shown.get("anyOf", []) if choice != {"type": "null"}]
        return shown if not choices else choices[0] if len(choices) == 1 else {"anyOf": choices}


_T = TypeVar("_T")
Omittable = Annotated[_T | None, _ShownWithoutNull()]
"""A field that a client may leave out. `SkipJsonSchema[None]` would give the same schema, but makes the type a true
union: pydantic reports its errors twice, and at places that are not in the body."""

JobKind = Literal["reel", "stitch", "soundtrack", "lipsync"]
TerminalEventType = Literal["job.succeeded", "job.failed", "job.canceled", "job.expired"]
WebhookEventType = Literal[TerminalEventType, "job.awaiting_approval"]
Priority = Literal["low", "normal", "high"]
ClipSound = Literal["keep", "drop"]
OnFailedCheck = Literal["report", "reroll"]
AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9"]
Resolution = Literal["240p", "360p", "480p", "540p", "720p", "1080p"]

TEXT_PATTERN = r"^[^\x00]*$"
"""PostgreSQL cannot store NUL, neither in text nor in its binary form of JSON."""
NO_NUL = "This must not have the character NUL, which cannot be stored."
PROMPT_PATTERN = r"^[^\x00]*[^\s\x00][^\x00]*$"
Text = Annotated[str, Field(pattern=TEXT_PATTERN)]
"""The type of every text that a client sends, unless a pattern of its own excludes NUL."""
Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PROMPT_LENGTH,
        pattern=PROMPT_PATTERN,
        description="Text that describes what the clip shows.",
    ),
]
Tag = Annotated[Text, Field(min_length=1, max_length=64, pattern=PROMPT_PATTERN)]


def _drop_repeated(tags: list[str]) -> list[str]:
    kept: dict[str, str] = {}
    for tag in tags:
        kept.setdefault(tag.casefold(), tag)
    return list(kept.values())


Tags = Annotated[
    list[Tag],
    Field(
        max_length=32, description="Words of yours to find the job by. Case does not matter, and repeats are dropped."
    ),
    AfterValidator(_drop_repeated),
]
NegativePrompt = Annotated[Text, Field(max_length=MAX_PROMPT_LENGTH)]
ModelId = Annotated[Text, Field(min_length=1, max_length=128)]
CaptionText = Annotated[
    Text,
    Field(
        max_length=500,
        description="Text that is shown for the whole clip: see `captions`. Without it, a narrated clip shows what is "
        "spoken. An empty text stands for no caption.",
    ),
]
NarrationText = Annotated[
    Text,
    Field(
        max_length=2000,
        description="Text that a voice speaks from the beginning of the clip on. Other sound is quieter meanwhile. An "
        "empty text stands for no narration.",
    ),
]
CaptionMode = Annotated[
    Literal["off", "track", "burned"],
    Field(
        description="Where captions are shown: as a `track` of the MP4 that a player can switch on, or `burned` into "
        "the picture. Both also make SRT and WebVTT files."
    ),
]
FitNarration = Annotated[
    bool,
    Field(
        strict=True,
        description="Whether a clip holds its last frame until its narration has ended. Without, a narration that is "
        "longer than its clip fails the job.",
    ),
]
VoiceName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+():-]{0,127}$",
        description="The voice of narration, by the name that the speech engine of the server has for it; the server's "
        "default if left out.",
    ),
]


def _check_whole(value: object) -> object:
    # pydantic takes true for 1, and "+1", "1.0", "1_0" and " 1" for the text of 1, and "-0" for 0.
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    if isinstance(value, str) and not re.fullmatch(r"0|-?[1-9][0-9]*", value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


def _check_number(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", value):
        raise PydanticCustomError("float_parsing", "Input should be a valid number")
    return value


WHOLE = BeforeValidator(_check_whole)
"""The last part of the type of a whole number. Anywhere else, limits would be missing in the schema."""
NUMBER = BeforeValidator(_check_number)
"""The same for a number that may have a fraction."""
Seed = Annotated[int, Field(ge=0, lt=2**32), WHOLE]
Steps = Annotated[int, Field(ge=1, le=1000), WHOLE]
MAX_FPS = 60
FramesPerSecond = Annotated[int, Field(ge=1, le=MAX_FPS), WHOLE]
GuidanceScale = Annotated[float, Field(ge=0, le=50), NUMBER]
PageLimit = Annotated[int, Field(ge=1, le=100), WHOLE]
Progress = Annotated[float, Field(ge=0, le=1, description="Fraction done, from 0 to 1; never goes back.")]
Timestamp = Annotated[AwareDatetime, Field(description="UTC.")]


def _refuse_number(text: object) -> object:
    # pydantic would take a number for seconds, or for milliseconds if it is large.
    is_number = isinstance(text, int | float) or (isinstance(text, str) and re.fullmatch(r"[-+]?[0-9.]+", text.strip()))
    if is_number:
        raise ValueError("give a date and time with its offset, as in RFC 3339")
    return text


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("this is out of range") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_refuse_number), AfterValidator(_in_utc)]
"""A moment that a client sends."""


def _refuse_control_characters(url: object) -> object:
    # URL parsers silently drop line breaks, so the called URL would differ from the given URL.
    if isinstance(url, str) and re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a URL has no spaces and no control characters")
    return url


def _refuse_port_zero(url: HttpUrl) -> HttpUrl:
    if url.port == 0:
        raise ValueError("a port is a number from 1 to 65535")
    return url


_AsWritten = BeforeValidator(_refuse_control_characters)
_Connectable = AfterValidator(_refuse_port_zero)
_HTTPS = Field(json_schema_extra={"pattern": "^https://"})
HttpsUrl = Annotated[
    HttpUrl, UrlConstraints(allowed_schemes=["https"], max_length=2048), _AsWritten, _HTTPS, _Connectable
]
WebhookUrl = Annotated[
    HttpUrl, UrlConstraints(allowed_schemes=["https", "http"], max_length=2048), _AsWritten, _Connectable
]
"""Plain `http` is only for servers whose settings allow it."""
