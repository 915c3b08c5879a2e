"""Answers of routes that wait for a storyboard: an event stream, or the storyboard once it is written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from fastapi import Request, Response

from phoenix.api.dependencies import get_caller
from phoenix.api.http.sse_response import EventStream
from phoenix.api.lifespan import AppState
from phoenix.contract import Storyboard, StoryboardFailed, StoryboardSnapshot, StoryboardState, StoryboardWritten
from phoenix.errors import PhoenixError
from phoenix.events.messages import HEARTBEAT_FRAME
from phoenix.storyboards.repository import get_storyboard
from phoenix.storyboards.writer import Writing, WritingEvent

_CHECK_S = 0.5
"""Time between two looks whether the client has left, this server has to stop, or another replica has finished."""


def wants_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


async def respond(
    request: Request, state: AppState, storyboard: Storyboard, writing: Writing | None, *, status: int = 200
) -> Response:
    """The storyboard once nobody writes it any more, or a stream until then. The client may leave before that."""
    location = {"Location": f"/v1/storyboards/{storyboard.id}"} if status == 201 else {}
    if wants_stream(request):
        response = EventStream(lambda _sink: _frames_while_it_is_there(state, request, storyboard, writing), status)
        response.headers.update(location)
        return response
    if writing is not None:
        await _wait(request, state, writing)
        storyboard = await _read(state, storyboard.id, request)
    return Response(storyboard.model_dump_json(), status, location, media_type="application/json")


async def _wait(request: Request, state: AppState, writing: Writing) -> None:
    with writing.follow() as queue:
        while not (state.draining.is_set() or await request.is_disconnected()):
            # `asyncio.wait_for` of Python 3.11 may swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_S):
                    if await queue.get() is None:
                        break
    if writing.task is not None:
        # The last follower has canceled it, which it stores.
        await asyncio.wait([writing.task], timeout=10)


async def _frames_while_it_is_there(
    state: AppState, request: Request, storyboard: Storyboard, writing: Writing | None
) -> AsyncGenerator[bytes]:
    """Ends early if the storyboard is deleted or cannot be read: a client that asks again learns why."""
    with suppress(PhoenixError):
        async with aclosing(_frames(state, request, storyboard, writing)) as frames:
            async for frame in frames:
                yield frame


async def _frames(
    state: AppState, request: Request, storyboard: Storyboard, writing: Writing | None
) -> AsyncGenerator[bytes]:
    yield _frame(StoryboardSnapshot(storyboard_id=storyboard.id, storyboard=storyboard))
    is_over = False
    if writing is not None:
        with writing.follow() as queue:
            async for event in _events(state, queue):
                yield HEARTBEAT_FRAME if event is None else _frame(event)
                is_over = isinstance(event, StoryboardWritten | StoryboardFailed)
    elif storyboard.state is StoryboardState.WRITING:
        # Another replica writes it.
        async for _ in _looks(state):
            storyboard = await _read(state, storyboard.id, request)
            if storyboard.state is not StoryboardState.WRITING:
                break
            yield HEARTBEAT_FRAME
    if not is_over and not state.draining.is_set():
        found = storyboard if writing is None else await _read(state, storyboard.id, request)
        kind = StoryboardFailed if found.state is StoryboardState.FAILED else StoryboardWritten
        yield _frame(kind(storyboard_id=found.id, storyboard=found))


async def _events(state: AppState, queue: "asyncio.Queue[WritingEvent | None]") -> AsyncGenerator[WritingEvent | None]:
    """The events up to the end; None where a heartbeat is due."""
    heartbeat_s, quiet_s = state.services.settings.events.heartbeat_s, 0.0
    while not state.draining.is_set():
        try:
            async with asyncio.timeout(_CHECK_S):
                event = await queue.get()
        except TimeoutError:
            quiet_s += _CHECK_S
            if quiet_s >= heartbeat_s:
                quiet_s = 0.0
                yield None
            continue
        if event is None:
            return
        quiet_s = 0.0
        yield event


async def _looks(state: AppState) -> AsyncGenerator[None]:
    while not state.draining.is_set():
        yield
        await asyncio.sleep(2 * _CHECK_S)


async def _read(state: AppState, storyboard_id: str, request: Request) -> Storyboard:
    """Raises `NotFound` if it was deleted meanwhile."""
    owner_id: str = (await get_caller(request)).owner_id
    async with state.services.database.read_once() as session:
        return await get_storyboard(session, storyboard_id, owner_id=owner_id)


def _frame(event: StoryboardSnapshot | WritingEvent) -> bytes:
    return f"event: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()
