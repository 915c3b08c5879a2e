"""Builds and serves the OpenAPI documents, in two versions, and the page that shows them to people.

They are FastAPI's own document, completed for code generators. The plain version (3.1) is for code generators, the
exact version (3.2) for contract tests.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from phoenix.api.openapi.postprocess import EVENT_STREAM, Json, operations_of, postprocess
from phoenix.api.openapi.webhooks import PAYLOADS, describe_webhooks
from phoenix.api.routes.artifacts import UPLOAD_SCHEMA
from phoenix.contract import (
    EventPage,
    JobEvent,
    Problem,
    StoryboardEvent,
    VideoExtensionRequest,
    VideoProblem,
    VideoRemixRequest,
    VideoRequest,
)
from phoenix.contract.videos import VideoEditRequest
from phoenix.studio import page_headers

TAGS: list[dict[str, str]] = [
    {"name": "reels", "description": "Prompts in, one video out."},
    {"name": "storyboards", "description": "From an idea to a reel, with messages that refine it."},
    {"name": "stitches", "description": "Joining existing videos."},
    {"name": "lipsyncs", "description": "Making a face say a sound."},
    {"name": "soundtracks", "description": "Preparing a sound for later use."},
    {"name": "jobs", "description": "Finding, canceling, retrying and deleting jobs."},
    {"name": "events", "description": "Following jobs live."},
    {"name": "content", "description": "The bytes of results, clips and uploads."},
    {"name": "artifacts", "description": "Uploads, and the metadata of stored files."},
    {"name": "keys", "description": "What the key of the request may do, and what it stores."},
    {"name": "models", "description": "The models to render with."},
    {"name": "webhooks", "description": "Being notified when jobs end."},
    {"name": "videos", "description": "Reels in the terms of OpenAI's SDKs; errors have the format of these SDKs."},
    {"name": "fleet", "description": "Queues and workers."},
    {"name": "health", "description": "For load balancers."},
]

DESCRIPTION = """\
Video generation on your own machines. Post a **reel** and get a job id at once; follow the job with an `EventSource`
on `/v1/jobs/{job_id}/events`; download the result.

A request with a field or a query parameter that is not described here is refused, and all of its errors are listed.

Every error is `application/problem+json` (under `/v1/videos`, the format of OpenAI's SDKs), and every response has
`X-Request-ID`.
"""


def build_document(app: FastAPI) -> dict[str, Any]:
    """The full document; both published versions are derived from it."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=app.servers,
        license_info=app.license_info,
    )
    components = document["components"]
    components["schemas"] = {**_schemas(), **components["schemas"]}
    for operation in operations_of(document):
        _split_docstring(operation)
    postprocess(document)
    document["webhooks"] = describe_webhooks()
    return document


def _split_docstring(operation: dict[str, Any]) -> None:
    """Takes the summary from the first line of a route's docstring. FastAPI would take the function's name."""
    summary, _, description = operation["description"].partition("\n")
    operation["summary"] = summary.rstrip(".")
    operation["description"] = " ".join(description.split())


def _schemas() -> dict[str, Any]:
    """The components that no route declares as its model: errors, and events of streams."""
    views: list[type[BaseModel]] = [Problem, JobEvent, StoryboardEvent, EventPage, VideoProblem, *PAYLOADS]
    bodies: list[type[BaseModel]] = [VideoRequest, VideoRemixRequest, VideoExtensionRequest, VideoEditRequest]
    _, found = models_json_schema(
        [*((body, "validation") for body in bodies), *((view, "serialization") for view in views)],
        ref_template="#/components/schemas/{model}",
    )
    return {**found["$defs"], "Upload": UPLOAD_SCHEMA}


PAGE_PATH = "/docs"
PAGE_ASSETS = "/docs/assets"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)

_SCHEMAS = "#/components/schemas/"
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


_STORYBOARD_MESSAGE: Json = {
    "title": "StoryboardEventMessage",
    "description": "One message of the stream of a storyboard.",
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "description": "The `type` of the data.", "examples": ["storyboard.delta"]},
        "data": {
            "type": "string",
            "description": "One line of JSON.",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": f"{_SCHEMAS}StoryboardEvent"},
        },
    },
}


def _only(name: str, other: str) -> Json:
    return {"required": [name], "properties": {name: {"type": "string"}, other: {"type": "null"}}}


# Only in the exact document: generators make a class of each choice, and another class around them.
_ONE_SOURCE: list[Json] = [_only("artifact_id", "url"), _only("url", "artifact_id")]


class Documents:
    """Both versions of the application's document, built on first use."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @cached_property
    def plain(self) -> Json:
        return make_plain(self._full)

    @cached_property
    def exact(self) -> Json:
        return make_exact(self._full)

    async def show_page(self, _request: Request) -> Response:
        """Serves the page at `/docs`, with the security policy of the studio."""
        return HTMLResponse(self._page, headers=page_headers(*_INLINE_SCRIPT.findall(self._page)))

    @cached_property
    def _page(self) -> str:
        shown = get_swagger_ui_html(
            openapi_url=self._app.openapi_url or "",
            title="Phoenix API",
            swagger_js_url=f"{PAGE_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{PAGE_ASSETS}/swagger-ui.css",
            swagger_favicon_url="/studio/icon.svg",
        )
        return bytes(shown.body).decode()

    async def show_exact(self, _request: Request) -> Response:
        """Serves the exact document; FastAPI's own route serves the plain one."""
        return JSONResponse(self.exact)

    @cached_property
    def _full(self) -> Json:
        return build_document(self._app)


def make_plain(document: Json) -> Json:
    """A copy in 3.1, without the parts that mislead code generators.

    No generator makes a stream of a response that may also be JSON, and 204 adds `void` to the events. A field with a
    default becomes required (openapi-typescript) or is always sent (openapi-python-client).
    """
    copy: dict[str, Any] = deepcopy(document)
    for schema in copy["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                field.pop("default", None)
    for entry in copy["webhooks"].values():
        # openapi-generator would generate client calls for our webhooks, which do not even compile.
        entry["post"]["x-internal"] = True
    for responses in _streams_of(copy, "JobEvent"):
        responses.pop("204", None)
        responses["200"]["content"] = {EVENT_STREAM: responses["200"]["content"][EVENT_STREAM]}
    for responses in _streams_of(copy, "StoryboardEvent"):
        for response in responses.values():
            response.get("content", {}).pop(EVENT_STREAM, None)
    # openapi-python-client reads a file of any type as text if one of its types is text.
    for files in (contents for contents in _contents_of(copy) if "video/mp4" in contents):
        files.pop("text/vtt", None)
    return copy


def _contents_of(document: Json) -> Iterator[dict[str, Any]]:
    """The content of each response, by media type."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                yield response.get("content", {})


def make_exact(document: Json) -> Json:
    """A copy in 3.2: a stream is a sequence of messages, and a soundtrack has exactly one source."""
    copy: dict[str, Any] = deepcopy(document)
    copy["openapi"] = EXACT_VERSION
    schemas = copy["components"]["schemas"]
    for event, message in (("JobEvent", _MESSAGE), ("StoryboardEvent", _STORYBOARD_MESSAGE)):
        schemas[f"{event}Message"] = named = deepcopy(message)
        named["properties"]["event"]["enum"] = sorted(schemas[event]["discriminator"]["mapping"])
    for name in ("SoundSource", "SoundtrackRequest"):
        schemas[name]["oneOf"] = _ONE_SOURCE
    for event in ("JobEvent", "StoryboardEvent"):
        # In place of `schema`, which in 3.2 describes the stream as a whole.
        messages = {"itemSchema": {"$ref": f"{_SCHEMAS}{event}Message"}}
        for responses in list(_streams_of(copy, event)):
            for response in responses.values():
                if EVENT_STREAM in response.get("content", {}):
                    response["content"][EVENT_STREAM] = messages
    return copy


def _streams_of(document: Json, event: str) -> Iterator[Json]:
    """The responses of each operation that can return a stream of these events."""
    for operation in operations_of(document):
        contents = [response.get("content", {}) for response in operation["responses"].values()]
        streams = [content[EVENT_STREAM] for content in contents if EVENT_STREAM in content]
        if any(stream.get("schema") == {"$ref": _SCHEMAS + event} for stream in streams):
            yield operation["responses"]
