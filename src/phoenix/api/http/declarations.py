"""Parameters, and OpenAPI descriptions of responses, that several routes share.

A malformed id in a path gets 404, not 422.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header, Path
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from phoenix.contract.base import Omittable
from phoenix.contract.problems import PROBLEM_MEDIA_TYPE
from phoenix.errors import NotFound
from phoenix.ids import ARTIFACT_ID_PATTERN, DELIVERY_ID_PATTERN, JOB_ID_PATTERN


def well_formed_id(noun: str, pattern: str) -> Callable[[str], str]:
    """A validator of ids in the path, which raises `NotFound` for malformed ones."""

    def check(text: str) -> str:
        # Also keeps what PostgreSQL cannot store, such as NUL, out of queries.
        if not re.fullmatch(pattern, text):
            raise NotFound(f"There is no {noun} of this id.")
        return text

    return check


def _refuse_number(text: object) -> object:
    # pydantic would take a number for seconds, or for milliseconds if it is large.
    if isinstance(text, str) and re.fullmatch(r"[-+]?[0-9.]+", text.strip()):
        raise ValueError("give a date and time with its offset, as RFC 3339 has it")
    return text


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("this is out of range") from None


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
DeliveryIdInPath = Annotated[
    str,
    Path(description="Id of a delivery.", json_schema_extra={"pattern": DELIVERY_ID_PATTERN}),
    AfterValidator(well_formed_id("delivery", DELIVERY_ID_PATTERN)),
]
# Constrained inside the union with None: FastAPI loses constraints on the union itself. NUL is excluded because
# PostgreSQL's text cannot hold it, not even in a query.
SearchText = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
Instant = Annotated[AwareDatetime, BeforeValidator(_refuse_number), AfterValidator(_in_utc)]

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
_IfRange = Annotated[Omittable[str], Header(description="Honour `Range` only if this `ETag` still holds.")]


async def document_conditional_headers(if_match: _Expected = None, if_none_match: _Known = None) -> None:
    """Documents the headers; `conditions` reads them from the request."""


async def document_range_headers(
    if_match: _Expected = None,
    if_none_match: _Known = None,
    range: _Range = None,  # noqa: A002
    if_range: _IfRange = None,
) -> None:
    """Documents the headers of requests for files."""


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
