"""Parameters, headers and OpenAPI descriptions of responses that several routes share.

A malformed id in a path gets 404, not 422.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Header, Path, Query, Request, Response
from pydantic import AfterValidator, BeforeValidator, Field

from phoenix.contract import PROBLEM_MEDIA_TYPE, WHOLE, Omittable, Text
from phoenix.errors import NotFound
from phoenix.ids import ARTIFACT_ID_PATTERN, DELIVERY_ID_PATTERN, JOB_ID_PATTERN, STORYBOARD_ID_PATTERN


def well_formed_id(noun: str, pattern: str) -> Callable[[str], str]:
    """A validator of ids in the path, which raises `NotFound` for malformed ones."""

    def check(text: str) -> str:
        # This also keeps text that PostgreSQL cannot store, such as NUL, out of queries.
        if not re.fullmatch(pattern, text):
            raise NotFound(f"There is no {noun} of this id.")
        return text

    return check


def _check_boolean(text: object) -> object:
    # pydantic takes 1, "yes" and "on" for true, and the document does not say so.
    if text not in ("true", "false"):
        raise ValueError("give true or false")
    return text


JobIdInPath = Annotated[
    str,
    Path(description="Id of a job.", json_schema_extra={"pattern": JOB_ID_PATTERN}),
    AfterValidator(well_formed_id("job", JOB_ID_PATTERN)),
]
ArtifactIdInPath = Annotated[
    str,
    Path(description="Id of an artifact.", json_schema_extra={"pattern": ARTIFACT_ID_PATTERN}),
    AfterValidator(well_formed_id("artifact", ARTIFACT_ID_PATTERN)),
]
ClipIndexInPath = Annotated[int, Path(), WHOLE]
DeliveryIdInPath = Annotated[
    str,
    Path(description="Id of a delivery.", json_schema_extra={"pattern": DELIVERY_ID_PATTERN}),
    AfterValidator(well_formed_id("delivery", DELIVERY_ID_PATTERN)),
]
StoryboardIdInPath = Annotated[
    str,
    Path(description="Id of a storyboard.", json_schema_extra={"pattern": STORYBOARD_ID_PATTERN}),
    AfterValidator(well_formed_id("storyboard", STORYBOARD_ID_PATTERN)),
]
# The constraints are inside the union with None, because FastAPI loses constraints on the union itself. In a query too,
# PostgreSQL takes no NUL.
SearchText = Annotated[Text, Field(max_length=200)]
Flag = Annotated[bool, BeforeValidator(_check_boolean)]
WithSignedUrls = Annotated[
    bool,
    Query(description="Also show URLs that load without a header, in `signed_url`, for players."),
    BeforeValidator(_check_boolean),
]

IfMatch = Annotated[
    Omittable[str],
    Header(
        description="An `ETag` of the job, or the number of its last durable event in double quotes: 412, and no "
        "change, if the job is no longer in that state. Progress does not count."
    ),
]
_Expected = Annotated[Omittable[str], Header(description="412 unless this is still the current `ETag`.")]
_Known = Annotated[Omittable[str], Header(description="An `ETag` that the client has.")]
_Range = Annotated[Omittable[str], Header(description="Such as `bytes=0-999` or `bytes=-500`.")]
_IfRange = Annotated[Omittable[str], Header(description="Apply `Range` only if this `ETag` is still current.")]


async def document_conditional_headers(if_match: _Expected = None, if_none_match: _Known = None) -> None:
    """Documents the headers of conditional requests; the routes read them from the request."""


async def document_range_headers(
    if_match: _Expected = None,
    if_none_match: _Known = None,
    range: _Range = None,  # noqa: A002
    if_range: _IfRange = None,
) -> None:
    """Documents the headers of requests for files; `send_file` reads them from the request."""


Responses = dict[int | str, dict[str, Any]]

BINARY = {"type": "string", "format": "binary"}

PROBLEM: Responses = {
    "default": {
        "description": "Any error, as problem+json.",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}

_TEXT = {"schema": {"type": "string"}}
JOB_ACCEPTED: Responses = {
    202: {
        "description": "Accepted. The job is stored: a restart of this server does not lose it.",
        "headers": {
            "Location": {"description": "Path of the job.", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds to wait before polling again.", "schema": {"type": "integer"}},
            "Idempotent-Replayed": {"description": "`true` if an earlier request with this key made the job.", **_TEXT},
            "Preference-Applied": {"description": "`wait=N`, if the client asked to wait.", **_TEXT},
        },
    }
}

NOT_MODIFIED: Responses = {304: {"description": "The client already has this version: its `If-None-Match` names it."}}

_ETAG = {
    "ETag": {"description": "Version of the content, for `If-None-Match` and `If-Range`.", "schema": {"type": "string"}}
}

JOB_SHOWN: Responses = {200: {"headers": _ETAG}, **NOT_MODIFIED}

PAGE_LISTED: Responses = {200: {"headers": {"Link": {"description": 'The next page, as `rel="next"`.', **_TEXT}}}}
PageCursor = Annotated[Omittable[SearchText], Query(description="`next_cursor` of the last page.")]


def link_next_page(request: Request, response: Response, cursor: str | None) -> None:
    """Sets the header that names the next page of a list, if there is one."""
    if cursor is not None:
        others = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        path = f"{request.url.path}?{urlencode([*others, ('cursor', cursor)])}"
        response.headers["Link"] = f'<{path}>; rel="next"'


def stored_file(*media_types: str) -> Responses:
    """The responses of a route that sends a file. `application/octet-stream` is for clients that know no other type."""
    content = {kind: {"schema": BINARY} for kind in (*media_types, "application/octet-stream")}
    content_range = {
        "Content-Range": {"description": "The range of bytes, and the size of the file.", "schema": {"type": "string"}}
    }
    headers = {
        **_ETAG,
        "Accept-Ranges": {"description": "Always `bytes`.", **_TEXT},
        "Content-Disposition": {"description": "The file name to save it under.", **_TEXT},
    }
    # Several ranges come as the parts of one body.
    parts = {**content, "multipart/byteranges": {"schema": BINARY}}
    return {
        200: {"description": "The whole file.", "content": content, "headers": headers},
        206: {"description": "The requested ranges.", "content": parts, "headers": headers | content_range},
        307: {
            "description": "The file can be downloaded from the store itself, without a key, until the URL expires.",
            "headers": {"Location": {"description": "A signed URL.", "schema": {"type": "string"}}},
        },
        **NOT_MODIFIED,
    }
