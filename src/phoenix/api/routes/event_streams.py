"""Event streams (SSE) of one job or of all the caller's jobs, and a job's log as JSON pages.

The owner of a job may follow it, and so may an operator, and the holder of a stream token for it, in the URL or in a
cookie.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, Header, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from phoenix.access.keys import ANYBODY
from phoenix.access.tokens import TokenPurpose
from phoenix.api.dependencies import AppStateDep, ReaderDep, counting_failed_auth
from phoenix.api.http.declarations import JobIdInPath, Responses
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.http.request_ids import presented_of, record_presented
from phoenix.api.http.sse_response import EventStream
from phoenix.api.lifespan import AppState
from phoenix.api.signed_urls import stream_path
from phoenix.api.steering.hidden_words import hide_in_event
from phoenix.api.steering.owners import OwnerInQuery, get_job_subject, get_wanted_owner
from phoenix.contract import EventPage, StreamToken
from phoenix.db.errors import RETRY_AFTER_S
from phoenix.errors import FieldError, InvalidRequest, NotFound, Unavailable
from phoenix.events.log_interface import has_seen_end, parse_last_event_id
from phoenix.events.messages import retry_frame
from phoenix.events.sse.snapshot_and_replay import Redact, job_stream, owner_stream
from phoenix.jobs.event_log.reader import replay
from phoenix.jobs.repository import get_job

router = APIRouter(tags=["events"], route_class=StrictRoute)

PAGE_SIZE = 1000

_EVENTS = {"text/event-stream": {"schema": {"$ref": "#/components/schemas/JobEvent"}}}
_PAGE = {"application/json": {"schema": {"$ref": "#/components/schemas/EventPage"}}}
_JOB_STREAM: Responses = {
    200: {"description": "The stream. It ends after the terminal event.", "content": _EVENTS | _PAGE},
    204: {"description": "The client has the last event already: it should not reconnect."},
}
_OWNER_STREAM: Responses = {200: {"description": "The stream. It does not end by itself.", "content": _EVENTS}}

COOKIE = "phoenix_stream"


def _set_cookie(request: Request, response: Response, job_id: str, token: StreamToken) -> None:
    """Sets the token as a cookie for pages of the same site: sent only for this stream, and hidden from scripts."""
    response.set_cookie(
        COOKIE,
        token.token,
        expires=token.expires_at,
        path=stream_path(job_id),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


@dataclass(frozen=True)
class Follower:
    """The owner of what is followed, and the key that follows it."""

    owner_id: str
    key_id: str

    def redact(self, state: AppState) -> Redact | None:
        """What hides the owner's words from the key; None if the key may see them."""
        sees_words = self.owner_id == self.key_id or state.services.settings.api.show_prompts_to_operators
        return None if sees_words else hide_in_event


async def get_stream_follower(
    request: Request,
    state: AppStateDep,
    job_id: JobIdInPath,
    token: Annotated[
        str | SkipJsonSchema[None],
        Query(description="From `POST …/stream-tokens`, for a client that cannot set headers."),
    ] = None,
    cookie: Annotated[str | SkipJsonSchema[None], Cookie(alias=COOKIE, include_in_schema=False)] = None,
    owner: OwnerInQuery = None,
) -> Follower | None:
    """Who follows the job; None while the database is away. A key or token precedes the cookie."""
    presented = cookie if token is None and "authorization" not in request.headers else token
    try:
        if presented is not None:
            async with counting_failed_auth(request, state):
                grant = await state.tokens.read(TokenPurpose.STREAM, presented, job_id)
            if grant.secret_id:
                record_presented(request.scope, grant.owner_id, grant.secret_id)
            return Follower(grant.owner_id, grant.owner_id)
        subject = await get_job_subject(state, await get_wanted_owner(request, owner), job_id)
    except Unavailable:
        return None
    return Follower(subject.owner_id, subject.caller.owner_id)


async def get_stream_reader(request: Request, owner: OwnerInQuery = None) -> Follower | None:
    """Who follows all jobs of one owner; None while the database is away. Raises `InvalidRequest` for all owners."""
    try:
        wanted = await get_wanted_owner(request, owner)
    except Unavailable:
        return None
    if wanted.owner_id is None:
        detail = "name one key: each owner has a log of its own, and a stream continues one of them"
        raise InvalidRequest.from_field_errors([FieldError("/query/owner", detail)])
    return Follower(wanted.owner_id, wanted.caller.owner_id)


# None rather than an error: any status but 200 closes a browser's EventSource for good.
StreamFollowerDep = Annotated[Follower | None, Depends(get_stream_follower)]
StreamReaderDep = Annotated[Follower | None, Depends(get_stream_reader)]


async def limit_job_streams(state: AppStateDep, follower: StreamFollowerDep) -> AsyncGenerator[None]:
    """Takes a slot for a stream of one job. Raises `RateLimited`."""
    async with AsyncExitStack() as stack:
        await _acquire_slot(stack, state, follower and follower.key_id)
        yield


async def limit_owner_streams(state: AppStateDep, follower: StreamReaderDep) -> AsyncGenerator[None]:
    """Takes a slot for a stream of all jobs of an owner. Raises `RateLimited`."""
    async with AsyncExitStack() as stack:
        await _acquire_slot(stack, state, follower and follower.key_id)
        yield


async def _acquire_slot(stack: AsyncExitStack, state: AppState, key_id: str | None) -> None:
    # While the database is away the key is unknown, and the stream only asks the client to reconnect. Where no key is
    # needed, the streams of the operator's pages and tools are not counted.
    if key_id not in (None, ANYBODY.owner_id):
        await stack.enter_async_context(state.open_streams.slot(key_id))


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
    responses=_JOB_STREAM,
    dependencies=[Depends(limit_job_streams)],
)
async def stream_job_events(
    request: Request,
    state: AppStateDep,
    follower: StreamFollowerDep,
    job_id: JobIdInPath,
    in_query: LastEventIdInQuery = None,
    in_header: LastEventIdInHeader = None,
) -> Response:
    """Follow a job.

    Starts with a `snapshot`, or with the events missed since `Last-Event-ID`, and continues live until the terminal
    event. With `Accept: application/json`, returns the durable events so far, as `{data, has_more}`.
    """
    after = parse_last_event_id(in_header if in_header is not None else in_query)
    if _wants_json(request):
        page = await _read_page(state, job_id, follower and follower.owner_id, after or 0)
        return Response(page.model_dump_json(), media_type="application/json")
    if follower is None:
        return _reconnect_stream(state)
    try:
        head = await state.log.find_head(job_id)
    except Unavailable:
        return _reconnect_stream(state)
    if head is None or head.owner_id != follower.owner_id:
        raise NotFound(f"There is no job {job_id}.")
    if has_seen_end(head, after):
        return Response(status_code=204)
    credential = presented_of(request.scope)
    redact = follower.redact(state)
    stream = partial(job_stream, state.hub, state.log, job_id, after, credential=credential, redact=redact)
    return EventStream(stream)


@router.head("/v1/events", include_in_schema=False)
@router.get(
    "/v1/events", response_class=EventStream, responses=_OWNER_STREAM, dependencies=[Depends(limit_owner_streams)]
)
async def stream_all_events(
    request: Request,
    state: AppStateDep,
    follower: StreamReaderDep,
    in_query: LastEventIdInQuery = None,
    in_header: LastEventIdInHeader = None,
) -> Response:
    """Follow all jobs.

    Starts with a `snapshot` of each unfinished job, or with the events of any job missed since `Last-Event-ID`, and
    continues live. Ids are opaque cursors over all of the caller's jobs. With `owner`, an operator follows the jobs of
    another key.
    """
    if follower is None:
        return _reconnect_stream(state)
    last_event_id = in_header if in_header is not None else in_query
    credential = presented_of(request.scope)
    redact = follower.redact(state)
    stream = partial(
        owner_stream, state.hub, state.log, follower.owner_id, last_event_id, credential=credential, redact=redact
    )
    return EventStream(stream)


@router.post("/v1/jobs/{job_id}/stream-tokens", status_code=201)
async def create_stream_token(
    request: Request, response: Response, state: AppStateDep, reader: ReaderDep, job_id: JobIdInPath
) -> StreamToken:
    """Make a token to follow a job with.

    For an `EventSource`, which cannot send headers. The token lets its holder read this job's events and nothing else,
    for as long as the job may take. Pages of the same site need not put it in the URL: it is also set as a cookie.
    """
    async with state.services.database.read() as session:
        job = await get_job(session, job_id, owner_id=reader.owner_id)
    token = await state.signed_urls.stream(job, reader)
    _set_cookie(request, response, job_id, token)
    response.headers["Cache-Control"] = "no-store"
    return token


def _reconnect_stream(state: AppState) -> Response:
    """A stream that only asks the client to reconnect: an error status would end a browser's `EventSource` for good."""
    return EventStream(lambda _sink: _only_retry(state))


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
