"""The two documents that are published: a plain one for generators (3.1), an exact one for contract tests (3.2)."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from phoenix.api.openapi_finish import EVENT_STREAM, Json, operations_of

EXACT_PATH = "/openapi-3.2.json"
EXACT_VERSION = "3.2.0"

_MESSAGE: Json = {
    "title": "JobEventMessage",
    "description": "One message of a stream, as an `EventSource` hands it out.",
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {
            "type": "string",
            "description": "Of durable events only: for `Last-Event-ID`.",
            "pattern": "^[0-9A-Za-z._-]{1,64}$",
        },
        "event": {"type": "string", "description": "The `type` of the data.", "examples": ["clip.progress"]},
        "data": {
            "type": "string",
            "description": "One line of JSON.",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobEvent"},
        },
        "retry": {"type": "integer", "minimum": 0, "description": "Milliseconds until a reconnection."},
    },
}


def _only(name: str, other: str) -> Json:
    return {"required": [name], "properties": {name: {"type": "string"}, other: {"type": "null"}}}


# Generators make of this a class for each choice, and one that wraps them.
_ONE_SOURCE: list[Json] = [_only("artifact_id", "url"), _only("url", "artifact_id")]


class Documents:
    """Both, made when they are first asked for."""

    def __init__(self, build: Callable[[], Json]) -> None:
        self._build = build

    @cached_property
    def plain(self) -> Json:
        return make_plain(self._full)

    @cached_property
    def exact(self) -> Json:
        return make_exact(self._full)

    async def show_exact(self, _request: Request) -> Response:
        """Answers beside FastAPI's own route, which shows the plain one."""
        return JSONResponse(self.exact)

    @cached_property
    def _full(self) -> Json:
        return self._build()


def make_plain(document: Json) -> Json:
    """A copy in 3.1, without what misleads generators.

    Of an answer that may be JSON as well, none of them makes a stream, and 204 puts `void` among its events. A field
    with a default becomes one that has to be given (openapi-typescript), or is always sent (openapi-python-client).
    """
    copy: dict[str, Any] = deepcopy(document)
    for schema in copy["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                field.pop("default", None)
    for entry in copy["webhooks"].values():
        # Of what we send, openapi-generator would make calls for the client, and not even such as compile.
        entry["post"]["x-internal"] = True
    for responses in _streams_of(copy):
        responses.pop("204", None)
        responses["200"]["content"] = {EVENT_STREAM: responses["200"]["content"][EVENT_STREAM]}
    return copy


def make_exact(document: Json) -> Json:
    """A copy in 3.2: a stream is a sequence of messages, and a soundtrack has exactly one source."""
    copy: dict[str, Any] = deepcopy(document)
    copy["openapi"] = EXACT_VERSION
    schemas = copy["components"]["schemas"]
    schemas["JobEventMessage"] = _MESSAGE
    schemas["SoundtrackRequest"]["oneOf"] = _ONE_SOURCE
    for responses in _streams_of(copy):
        # Not beside `schema`, which in 3.2 describes the stream as a whole.
        messages = {"itemSchema": {"$ref": "#/components/schemas/JobEventMessage"}}
        responses["200"]["content"][EVENT_STREAM] = messages
    return copy


def _streams_of(document: Json) -> Iterator[Json]:
    """The answers of each operation that can be a stream."""
    for operation in operations_of(document):
        if EVENT_STREAM in operation["responses"].get("200", {}).get("content", {}):
            yield operation["responses"]
