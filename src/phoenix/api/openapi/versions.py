"""The two documents that are published: a plain one for generators (3.1), an exact one for contract tests (3.2)."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from phoenix.api.openapi.postprocess import EVENT_STREAM, Json, operations_of

EXACT_PATH = "/openapi-3.2.json"
EXACT_VERSION = "3.2.0"

_MESSAGE: Json = {
    "title": "JobEventMessage",
    "description": "One message of a stream, as an `EventSource` delivers it.",
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {
            "type": "string",
            "description": "For `Last-Event-ID`; durable events only.",
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


# Only in the exact document: generators make a class of each choice, and another one around them.
_ONE_SOURCE: list[Json] = [_only("artifact_id", "url"), _only("url", "artifact_id")]


class Documents:
    """Both documents, built on first use."""

    def __init__(self, build: Callable[[], Json]) -> None:
        self._build = build

    @cached_property
    def plain(self) -> Json:
        return make_plain(self._full)

    @cached_property
    def exact(self) -> Json:
        return make_exact(self._full)

    async def show_exact(self, _request: Request) -> Response:
        """Serves the exact document; FastAPI's own route serves the plain one."""
        return JSONResponse(self.exact)

    @cached_property
    def _full(self) -> Json:
        return self._build()


def make_plain(document: Json) -> Json:
    """A copy in 3.1, without what misleads generators.

    None of them generates a stream for a response that may also be JSON, and 204 adds `void` to its events. A field
    with a default becomes required (openapi-typescript) or is always sent (openapi-python-client).
    """
    copy: dict[str, Any] = deepcopy(document)
    for schema in copy["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                field.pop("default", None)
    for entry in copy["webhooks"].values():
        # openapi-generator would generate client calls for our webhooks, which do not even compile.
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
        # In place of `schema`, which in 3.2 describes the stream as a whole.
        messages = {"itemSchema": {"$ref": "#/components/schemas/JobEventMessage"}}
        responses["200"]["content"][EVENT_STREAM] = messages
    return copy


def _streams_of(document: Json) -> Iterator[Json]:
    """The responses of each operation that can return a stream."""
    for operation in operations_of(document):
        if EVENT_STREAM in operation["responses"].get("200", {}).get("content", {}):
            yield operation["responses"]
