"""Completes the document: security, headers and examples of all operations, and named unions."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, cast

from pydantic import TypeAdapter

from phoenix.api.http.request_ids import HEADER
from phoenix.contract import DurableEvent, ResolvedRequest

Json = dict[str, Any]
EVENT_STREAM = "text/event-stream"

EXAMPLES: Json = json.loads(files("phoenix.api.openapi").joinpath("examples.json").read_text())
"""One value for each component that is a whole body. A test validates the values against the types."""

SECURITY_SCHEMES: Json = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer …`. By default, a server on a loopback address requires none.",
    },
    "stream_token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "From `POST …/stream-tokens`, for an `EventSource`: grants the events of one job only.",
    },
    "media_token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "From a signed URL, for a player: grants the media of one job, or one artifact, only.",
    },
}

_API_KEY: Json = {"api_key": []}
_OPEN_TAG = "health"
_MEDIA_OPERATIONS = (
    *("get_job_content", "get_clip_content", "get_artifact_content"),
    *("get_playlist", "get_clip_segments"),
)
_TOKENS: Json = {
    "stream_job_events": "stream_token",
    **dict.fromkeys(_MEDIA_OPERATIONS, "media_token"),
}
"""The operations that take a token, and its kind."""
_UNIONS: Json = {"DurableEvent": DurableEvent, "ResolvedRequest": ResolvedRequest}
_SCHEMA_PATH = "#/components/schemas/"

_REQUEST_ID: Json = {
    HEADER: {
        "description": "Id of this request: your own id, or a new id if you sent none.",
        "schema": {"type": "string"},
    }
}
_RETRY_AFTER: Json = {
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}
}


def postprocess(document: Json) -> None:
    """Completes the document in place."""
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = [_API_KEY]
    for operation in operations_of(document):
        _secure(operation)
        for status, response in operation["responses"].items():
            retry = _RETRY_AFTER if status == "default" else {}
            response["headers"] = {**response.get("headers", {}), **retry, **_REQUEST_ID}
            _give_examples(response)
        _give_examples(operation.get("requestBody", {}))
    _name_unions(document)
    document["components"]["schemas"]["JobEvent"]["examples"] = [EXAMPLES["JobEvent"]]
    for schema in document["components"]["schemas"].values():
        if schema.get("additionalProperties") is False:
            _document_nulls(schema)


def operations_of(document: Json) -> Iterator[Json]:
    """Every operation, in the order of the document."""
    for path in document["paths"].values():
        yield from path.values()


def _secure(operation: Json) -> None:
    if _OPEN_TAG in operation["tags"]:
        operation["security"] = []
    elif (token := _TOKENS.get(operation["operationId"])) is not None:
        operation["security"] = [_API_KEY, {token: []}]


def _give_examples(body: Json) -> None:
    for kind, media in body.get("content", {}).items():
        if kind == EVENT_STREAM:
            # FastAPI adds `type: string`, but the schema describes the JSON in the text.
            media["schema"].pop("type", None)
            continue
        name = media.get("schema", {}).get("$ref", "").removeprefix(_SCHEMA_PATH)
        if "examples" not in media and name in EXAMPLES:
            media["examples"] = {"example": {"value": EXAMPLES[name]}}


def _document_nulls(body: Json) -> None:
    """Documents null for the optional fields of a body. Parameters are not changed: null would be sent as "None"."""
    for name, field in body["properties"].items():
        if name not in body.get("required", ()) and field.get("default") is None:
            metadata = {key: field.pop(key) for key in ("title", "description", "examples") if key in field}
            field.pop("default", None)
            choices = field["anyOf"] if list(field) == ["anyOf"] else [field]
            body["properties"][name] = {**metadata, "anyOf": [*choices, {"type": "null"}]}


def _name_unions(document: Json) -> None:
    """Gives each union its own component, because generators would invent names such as `RequestOneOf`."""
    schemas = document["components"]["schemas"]
    for name, union in _UNIONS.items():
        schema = TypeAdapter[Any](union).json_schema(ref_template=_SCHEMA_PATH + "{model}", mode="serialization")
        schema.pop("$defs")
        _replace(document, schema["oneOf"], {"$ref": _SCHEMA_PATH + name})
        schemas[name] = {"title": name, **schema}


def _replace(node: Any, choices: Any, reference: Json) -> None:
    """Replaces every occurrence of these choices with the reference."""
    for child in cast("Json", node).values() if isinstance(node, dict) else node:
        if isinstance(child, dict) and cast("Json", child).get("oneOf") == choices:
            cast("Json", child).clear()
            cast("Json", child).update(reference)
        elif isinstance(child, dict | list):
            _replace(child, choices, reference)
