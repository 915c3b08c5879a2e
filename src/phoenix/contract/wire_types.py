"""The bases of all wire types, and the constrained scalars that the types share."""

from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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

JobKind = Literal["reel", "stitch", "soundtrack"]
TerminalEventType = Literal["job.succeeded", "job.failed", "job.canceled", "job.expired"]
Priority = Literal["low", "normal", "high"]
AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9"]
Resolution = Literal["240p", "360p", "480p", "540p", "720p", "1080p"]

Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PROMPT_LENGTH,
        pattern=r"\S",
        description="Text that describes what the clip shows.",
    ),
]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Progress = Annotated[float, Field(ge=0, le=1, description="Fraction done, from 0 to 1; never goes back.")]
Timestamp = Annotated[AwareDatetime, Field(description="UTC.")]
