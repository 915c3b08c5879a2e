"""Parameters that several routes take. An id of the wrong shape names nothing, so it is not found."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Path
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from phoenix.contract.base import Omittable
from phoenix.errors import NotFound
from phoenix.ids import ARTIFACT_ID_PATTERN, DELIVERY_ID_PATTERN, JOB_ID_PATTERN


def existing(noun: str, pattern: str) -> Callable[[str], str]:
    """For an id in the path: raises `NotFound` for what has not the shape of one."""

    def check(text: str) -> str:
        # Also keeps what PostgreSQL cannot store, such as NUL, out of queries.
        if not re.fullmatch(pattern, text):
            raise NotFound(f"There is no {noun} of this id.")
        return text

    return check


def _refuse_number(text: object) -> object:
    # pydantic takes it for seconds, or for milliseconds if it is large.
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
    Path(description="Of a job.", json_schema_extra={"pattern": JOB_ID_PATTERN}),
    AfterValidator(existing("job", JOB_ID_PATTERN)),
]
ArtifactIdInPath = Annotated[
    str,
    Path(description="Of an artifact.", json_schema_extra={"pattern": ARTIFACT_ID_PATTERN}),
    AfterValidator(existing("artifact", ARTIFACT_ID_PATTERN)),
]
DeliveryIdInPath = Annotated[
    str,
    Path(description="Of a delivery.", json_schema_extra={"pattern": DELIVERY_ID_PATTERN}),
    AfterValidator(existing("delivery", DELIVERY_ID_PATTERN)),
]
# Constrained inside of a union with None: FastAPI loses what is put on the union. And PostgreSQL's text cannot
# hold NUL, not even to look for it.
SearchText = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
Instant = Annotated[AwareDatetime, BeforeValidator(_refuse_number), AfterValidator(_in_utc)]

IfMatch = Annotated[
    Omittable[str],
    Header(
        description="An `ETag` of the job, or the number of its last durable event in double quotes: 412, and no "
        "change, if the job is no longer in that state. Progress does not count."
    ),
]
_Expected = Annotated[Omittable[str], Header(description="412 unless this is still its `ETag`.")]
_Known = Annotated[Omittable[str], Header(description="An `ETag` that the client has.")]
_Range = Annotated[Omittable[str], Header(description="`bytes=0-999`, `bytes=-500` and the like.")]
_IfRange = Annotated[Omittable[str], Header(description="Honour `Range` only if this `ETag` still holds.")]


async def document_conditions(if_match: _Expected = None, if_none_match: _Known = None) -> None:
    """Puts the headers into the document; `conditions` reads them from the request."""


async def document_ranges(
    if_match: _Expected = None,
    if_none_match: _Known = None,
    range: _Range = None,  # noqa: A002
    if_range: _IfRange = None,
) -> None:
    """As above, for files."""
