"""A crowd of requests from one address: another client is served before those of it that wait."""

import asyncio
import io
import socket
import time
from contextlib import ExitStack
from typing import Any, cast

import httpx
import uvicorn
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from fixtures.api import Api
from fixtures.log_lines import lines_about
from phoenix.api.middleware import ARRIVED_KEY
from phoenix.api.server.fair_starts import MAX_BEGINNING
from phoenix.api.server.serve import DrainingServer, server_config
from phoenix.telemetry.meters import Meters

CROWD, OTHER = "203.0.113.7", "203.0.113.8"
COUNT = 10 * MAX_BEGINNING
QUEUED_S = 1000


async def test_a_request_that_arrives_after_a_crowd_is_answered_among_its_first(api: Api) -> None:
    answered: list[str] = []
    app = FastAPI()
    app.state.meters = Meters()

    @app.get("/")
    async def answer(request: Request) -> None:
        for _ in range(20):  # steps in between which other requests run
            await asyncio.sleep(0)
        assert request.client is not None
        answered.append(request.client.host)

    config = server_config(app, api.services.settings)
    config.load()
    crowd, other = [
        httpx.AsyncClient(
            transport=httpx.ASGITransport(cast("Any", config.loaded_app), client=(address, 50_000)),
            base_url="http://localhost",
        )
        for address in (CROWD, OTHER)
    ]
    async with crowd, other:
        await asyncio.gather(*(crowd.get("/") for _ in range(COUNT)), other.get("/"))

    assert len(answered) == COUNT + 1
    assert answered.index(OTHER) < 2 * MAX_BEGINNING


async def count_turns_to_accept(connections: int) -> int:
    """How many turns of the event loop a server needs for connections that wait already."""
    app = FastAPI()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    server = DrainingServer(config, app)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    turns = 0
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        async with asyncio.timeout(100):
            while len(server.server_state.connections) < connections:
                await asyncio.sleep(0)
                turns += 1
    while server.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    for listening in server.servers:
        listening.close()
        await listening.wait_closed()
    return turns


def test_a_turn_of_the_event_loop_accepts_several_connections() -> None:
    with asyncio.Runner(loop_factory=uvicorn.Config(FastAPI(), loop="uvloop").get_loop_factory()) as runner:
        turns = runner.run(count_turns_to_accept(64))

    assert turns < 32


async def test_the_time_of_a_request_in_the_log_begins_when_the_server_has_its_head(
    log_lines: io.StringIO, api: Api
) -> None:
    async def arrive(scope: Scope, receive: Receive, send: Send) -> None:
        await api.app({**scope, ARRIVED_KEY: time.monotonic() - QUEUED_S}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(arrive), base_url="http://localhost") as client:
        await client.get("/health/live")

    assert lines_about(log_lines, "request")[-1]["duration_ms"] >= QUEUED_S * 1000
