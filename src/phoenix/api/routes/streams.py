"""Event streams (SSE) of one job or of all the caller's jobs; and a job's log so far as a JSON page."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from phoenix.api.dependencies import AppStateDep, ReaderDep
from phoenix.api.http.parameters import JobIdInPath
from phoenix.api.http.response_docs import Responses
from phoenix.api.http.sse_response import EventStream
from phoenix.api.lifespan import AppState
from phoenix.api.routes.stream_dependencies import (
    StreamOwnerDep,
    StreamReaderDep,
    limit_job_streams,
    limit_owner_streams,
    set_cookie,
)
from phoenix.contract.events import EventPage, StreamToken
from phoenix.db.unit_of_work import RETRY_AFTER_S
from phoenix.errors import NotFound, Unavailable
from phoenix.events.log import has_seen_end, parse_last_event_id
from phoenix.events.messages import retry_frame
from phoenix.events.sse.streams import job_stream, owner_stream
from phoenix.jobs.event_log.reader import replay
from phoenix.jobs.repository import get_job

router = APIRouter(tags=["events"])

PAGE_SIZE = 1000

_EVENTS = {"text/event-stream": {"schema": {"$ref": "#/components/schemas/JobEvent"}}}
_PAGE = {"application/json": {"schema": {"$ref": "#/components/schemas/EventPage"}}}
_OF_A_JOB: Responses = {
    200: {"description": "The stream. It ends after the terminal event.", "content": _EVENTS | _PAGE},
    204: {"description": "The client has the last event already: it should not reconnect."},
}
_OF_ALL: Responses = {200: {"description": "The stream. It does not end by itself.", "content": _EVENTS}}

LastEventIdInQuery = Annotated[
    str | SkipJsonSchema[None],
    Query(alias="last_event_id", description="Like the header, for the first connection; the header takes precedence."),
]
LastEventIdInHeader = Annotated[
    str | SkipJsonSchema[None],
    Header(alias="Last-Event-ID", description="`id` of the last event that the client has."),
]


@router.head("/v1/jobs/{job_id}/events", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=EventStream,
    responses=_OF_A_JOB,
    dependencies=[Depends(limit_job_streams)],
)
async def stream_job_events(
    request: Request,
    state: AppStateDep,
    owner: StreamOwnerDep,
    job_id: JobIdInPath,
    in_query: LastEventIdInQuery = None,
    in_header: LastEventIdInHeader = None,
) -> Response:
    """Follow a job.

    Starts with a `snapshot`, or with the events missed since `Last-Event-ID`, and continues live until the terminal
    event. With `Accept: application/json`, answers with the durable events so far, as `{data, has_more}`.
    """
    after = parse_last_event_id(in_header if in_header is not None else in_query)
    if _wants_json(request):
        page = await _read_page(state, job_id, owner, after or 0)
        return Response(page.model_dump_json(), media_type="application/json")
    if owner is None:
        return _reconnect_stream(state)
    try:
        head = await state.log.find_head(job_id)
    except Unavailable:
        return _reconnect_stream(state)
    if head is None or head.owner_id != owner:
        raise NotFound(f"There is no job {job_id}.")
    if has_seen_end(head, after):
        return Response(status_code=204)
    return EventStream(partial(job_stream, state.hub, state.log, job_id, after), state.send_timeouts)


@router.head("/v1/events", include_in_schema=False)
@router.get("/v1/events", response_class=EventStream, responses=_OF_ALL, dependencies=[Depends(limit_owner_streams)])
async def stream_all_events(
    state: AppStateDep,
    owner: StreamReaderDep,
    in_query: LastEventIdInQuery = None,
    in_header: LastEventIdInHeader = None,
) -> Response:
    """Follow all jobs.

    Starts with a `snapshot` of each unfinished job, or with the events of any job missed since `Last-Event-ID`, and
    continues live. Ids are opaque cursors over all of the caller's jobs.
    """
    if owner is None:
        return _reconnect_stream(state)
    last_event_id = in_header if in_header is not None else in_query
    return EventStream(partial(owner_stream, state.hub, state.log, owner, last_event_id), state.send_timeouts)


@router.post("/v1/jobs/{job_id}/stream-tokens", status_code=201)
async def create_stream_token(
    request: Request, response: Response, state: AppStateDep, reader: ReaderDep, job_id: JobIdInPath
) -> StreamToken:
    """Make a token to follow a job with.

    For an `EventSource`, which cannot send headers: it lets its holder read this job's events and nothing else,
    for as long as the job may take. Pages of the same site need not put it in the URL: it is also set as a cookie.
    """
    async with state.services.database.read() as session:
        job = await get_job(session, job_id, owner_id=reader.owner_id)
    token = await state.tokens.issue(job, reader)
    set_cookie(request, response, job_id, token)
    response.headers["Cache-Control"] = "no-store"
    return token


def _reconnect_stream(state: AppState) -> Response:
    """A stream that only asks the client to reconnect: an error status would end a browser's `EventSource` for good."""
    return EventStream(lambda _sink: _only_retry(state), state.send_timeouts)


async def _only_retry(state: AppState) -> AsyncGenerator[bytes]:
    yield retry_frame(state.services.settings.events.retry_ms, spread=1)


async def _read_page(state: AppState, job_id: str, owner: str | None, after_seq: int) -> EventPage:
    if owner is None:
        raise Unavailable("The database is away.", retry_after_s=RETRY_AFTER_S)
    async with state.services.database.read() as session:
        await get_job(session, job_id, owner_id=owner)
        events = await replay(session, job_id, after_seq, limit=PAGE_SIZE + 1)
    return EventPage(data=events[:PAGE_SIZE], has_more=len(events) > PAGE_SIZE)


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/event-stream" not in accepted
