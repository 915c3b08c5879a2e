"""OpenAPI descriptions of responses, shared by the routes."""

from typing import Any

from phoenix.contract.problems import PROBLEM_MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

BINARY = {"type": "string", "format": "binary"}

PROBLEM: Responses = {
    "default": {
        "description": "Anything that went wrong, in the shape that all errors share.",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}

_TEXT = {"schema": {"type": "string"}}
JOB_ACCEPTED: Responses = {
    202: {
        "description": "Accepted. The job is stored and will be worked on, whatever happens to this server process.",
        "headers": {
            "Location": {"description": "Where the job can be followed.", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds until it is worth polling again.", "schema": {"type": "integer"}},
            "Idempotent-Replayed": {"description": "`true` if an earlier request with this key made the job.", **_TEXT},
            "Preference-Applied": {"description": "`wait=N`, if the client asked to wait.", **_TEXT},
        },
    }
}

NOT_MODIFIED: Responses = {304: {"description": "The client already has this version: its `If-None-Match` names it."}}

_ETAG = {"ETag": {"description": "For `If-None-Match` and `If-Range`.", "schema": {"type": "string"}}}

JOB_SHOWN: Responses = {200: {"headers": _ETAG}, **NOT_MODIFIED}

JOBS_LISTED: Responses = {200: {"headers": {"Link": {"description": 'The next page, as `rel="next"`.', **_TEXT}}}}


def stored_file(*media_types: str) -> Responses:
    """Responses that carry a file. Clients that know none of the types find `application/octet-stream`."""
    content = {kind: {"schema": BINARY} for kind in (*media_types, "application/octet-stream")}
    content_range = {"Content-Range": {"description": "Which bytes these are.", "schema": {"type": "string"}}}
    headers = {
        **_ETAG,
        "Accept-Ranges": {"description": "Always `bytes`.", **_TEXT},
        "Content-Disposition": {"description": "The name to save it under.", **_TEXT},
    }
    return {
        200: {"description": "The whole file.", "content": content, "headers": headers},
        206: {"description": "The requested ranges.", "content": content, "headers": headers | content_range},
        307: {
            "description": "The file is at the store itself, for a while and without a key.",
            "headers": {"Location": {"description": "A signed URL.", "schema": {"type": "string"}}},
        },
        **NOT_MODIFIED,
    }
