"""More connections than a process accepts: a quick 503, an answer to health checks, and one line in the log."""

import asyncio
import io
import json
import socket
from contextlib import ExitStack

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fixtures.bounded_server import WITHIN_S, BoundedServer, serving_bounded, until_open, value_of
from fixtures.log_lines import lines_about
from phoenix.api.server.connection_cap import SPARE_CONNECTIONS

CAP = 20


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(scope["path"])(scope, receive, send)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def whole_answer(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    answer = b""
    async with asyncio.timeout(WITHIN_S):
        while part := await asyncio.get_running_loop().sock_recv(client, 65_536):
            answer += part
    return answer


def fill(stack: ExitStack, server: BoundedServer, count: int = CAP) -> list[socket.socket]:
    return [stack.enter_context(server.connect()) for _ in range(count)]


async def test_above_the_cap_a_request_gets_a_503_with_a_problem() -> None:
    async with serving_bounded(application, max_connections=CAP) as server:
        with ExitStack() as stack:
            fill(stack, server)
            head, _, body = (await whole_answer(stack.enter_context(server.connect(get("/v1/jobs"))))).partition(
                b"\r\n\r\n"
            )

        assert head.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in head
        assert json.loads(body)["code"] == "UNAVAILABLE"
        assert value_of(server.meters.refused_connections) == 1


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/health/ready", "/metrics?x=1", "http://localhost/health"]
)
async def test_above_the_cap_a_health_check_is_answered_and_its_connection_closed(path: str) -> None:
    async with serving_bounded(application, max_connections=CAP) as server:
        with ExitStack() as stack:
            fill(stack, server)
            answer = await whole_answer(stack.enter_context(server.connect(get(path))))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


async def test_far_above_the_cap_a_connection_is_closed_at_once() -> None:
    async with serving_bounded(application, max_connections=CAP) as server:
        with ExitStack() as stack:
            fill(stack, server, CAP + SPARE_CONNECTIONS)

            assert await whole_answer(stack.enter_context(server.connect())) == b""


async def test_a_connection_that_ends_makes_way_for_the_next_one() -> None:
    async with serving_bounded(application, max_connections=CAP) as server:
        with ExitStack() as stack:
            first, *_ = fill(stack, server)
            await until_open(server.meters, CAP)
            first.close()
            await until_open(server.meters, CAP - 1)
            client = stack.enter_context(server.connect(get("/v1/jobs")))
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65_536), WITHIN_S)

    assert answer.startswith(b"HTTP/1.1 200")


async def test_an_episode_is_logged_once_with_its_refusals(log_lines: io.StringIO) -> None:
    async with serving_bounded(application, max_connections=CAP) as server:
        with ExitStack() as stack:
            fill(stack, server)
            for _ in range(3):
                await whole_answer(stack.enter_context(server.connect(get("/v1/jobs"))))
        async with asyncio.timeout(WITHIN_S):
            while not lines_about(log_lines, "connections are accepted again"):  # noqa: ASYNC110 - of another task
                await asyncio.sleep(0.01)

    assert len(lines_about(log_lines, "no more connections are accepted")) == 1
    assert lines_about(log_lines, "connections are accepted again")[0]["refused"] == 3
    assert lines_about(log_lines, "request refused") == []
