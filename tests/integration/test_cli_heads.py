"""Heads of requests over real connections: bounded in bytes and time, and refused as problems."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from phoenix.api.server.http_heads import MAX_HEAD_BYTES, MAX_PIPELINED, BoundedHeads


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how long the body was; under `/stream` begins an answer without an end."""
    try:
        body = await Request(scope, receive).body()
    except ClientDisconnect:
        return
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await receive()
        return
    await PlainTextResponse(f"{scope['path']} {len(body)}")(scope, receive, send)


Answer = tuple[int, dict[str, str], bytes]


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def answer(self) -> Answer:
        async with asyncio.timeout(100):
            line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            return int(line.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def first_line(self) -> bytes:
        async with asyncio.timeout(100):
            return await self._reader.readline()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(100):
            return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """The bytes that still arrive until the other side closes."""
        async with asyncio.timeout(100):
            return await self._reader.read()

    async def is_closed(self) -> bool:
        return await self.rest() == b""


@asynccontextmanager
async def connected(*, head_timeout_s: float = 60) -> AsyncIterator[Connection]:
    config = uvicorn.Config(application, log_config=None, access_log=False, lifespan="off")
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHeads(config, state, {}, head_timeout_s=head_timeout_s), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield Connection(reader, writer)
    writer.close()
    while state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def connected_in_time(head: str, first_line: str, *, head_timeout_s: float) -> AsyncIterator[Connection]:
    """A connection whose first head was read in time, even if the machine stood still at an earlier one."""
    async with AsyncExitStack() as stack:
        while True:
            connection = await stack.enter_async_context(connected(head_timeout_s=head_timeout_s))
            connection.writer.write(f"{head}\r\n\r\n".encode())
            with suppress(ConnectionError):
                answered = await connection.first_line()
                if answered not in (b"", b"HTTP/1.1 408 Request Timeout\r\n"):
                    break
        assert answered == f"{first_line}\r\n".encode()
        yield connection


def assert_refused(answer: Answer, status: int) -> dict[str, Any]:
    assert answer[0] == status
    assert (answer[1]["content-type"], answer[1]["connection"]) == ("application/problem+json", "close")
    problem = json.loads(answer[2])
    assert (problem["status"], problem["code"]) == (status, "INVALID_REQUEST")
    assert problem["request_id"].startswith("req_")
    return problem


async def test_requests_follow_on_each_other_as_ever() -> None:
    async with connected() as connection:
        for size in (0, 200_000):
            connection.writer.write(b"POST /x HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
            assert (await connection.answer())[::2] == (200, b"/x %d" % size)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://localhost/x?y=1", "/x"),
        ("http://localhost", "/"),
        ("http://localhost?y=1", "/"),
        ("//localhost/x", "//localhost/x"),
        ("*", "*"),
    ],
)
async def test_a_target_that_is_a_url_asks_for_its_path(target: str, path: str) -> None:
    async with connected() as connection:
        connection.writer.write(f"OPTIONS {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())

        assert (await connection.answer())[::2] == (200, f"{path} 0".encode())


async def test_headers_up_to_the_limit_are_read() -> None:
    async with connected() as connection:
        connection.writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n")

        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"y" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\nx: " + b"y" * 500_000,
        b"GET /" + b"y" * 500_000,
    ],
    ids=["one header", "the target", "many headers", "an endless header", "an endless target"],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with connected() as connection:
        connection.writer.write(head)

        assert_refused(await connection.answer(), 431)


async def test_a_head_that_trickles_is_refused() -> None:
    async with connected(head_timeout_s=0.2) as connection:
        connection.writer.write(b"GET / HTTP/1.1\r\nx:")

        assert_refused(await connection.answer(), 408)


async def test_a_connection_on_which_nothing_comes_is_closed() -> None:
    async with connected(head_timeout_s=0.1) as connection:
        assert await connection.is_closed()


async def test_a_later_head_that_trickles_is_refused_too() -> None:
    async with connected_in_time("GET / HTTP/1.1", "HTTP/1.1 200 OK", head_timeout_s=0.3) as connection:
        await connection.until(b"/ 0")
        connection.writer.write(b"GET /again HTTP/1.1\r\nx:")

        assert_refused(await connection.answer(), 408)


async def test_a_body_that_is_not_http_is_refused_and_its_reader_let_go() -> None:
    async with connected() as connection:
        connection.writer.write(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        await connection.writer.drain()
        connection.writer.write(b"no length\r\n")

        assert_refused(await connection.answer(), 400)


async def test_into_an_answer_that_is_under_way_no_refusal_is_written() -> None:
    async with connected() as connection:
        connection.writer.write(b"GET /stream HTTP/1.1\r\n\r\n")
        assert await connection.first_line() == b"HTTP/1.1 200 OK\r\n"
        connection.writer.write(b"nonsense\r\n\r\n")

        assert b"HTTP/1.1" not in await connection.rest()


async def test_a_body_may_take_longer_than_a_head() -> None:
    head = "POST / HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue"
    async with connected_in_time(head, "HTTP/1.1 100 Continue", head_timeout_s=0.1) as connection:
        await connection.until(b"\r\n")
        connection.writer.write(b"a")
        # Twice as long as a head may take.
        await asyncio.sleep(0.2)
        connection.writer.write(b"b")

        assert (await connection.answer())[::2] == (200, b"/ 2")


UPGRADE = b"GET /v1/events HTTP/1.1\r\nconnection: %s\r\nupgrade: %s\r\nsec-websocket-version: 13\r\n\r\n"


@pytest.mark.parametrize("name", [b"websocket", b"WebSocket", b"h2c, websocket"])
async def test_a_websocket_is_refused_with_what_there_is_instead(name: bytes) -> None:
    async with connected() as connection:
        connection.writer.write(UPGRADE % (b"Upgrade", name))

        problem = assert_refused(await connection.answer(), 400)

    assert "text/event-stream" in problem["detail"]


async def test_an_offer_of_another_protocol_is_passed_over() -> None:
    """`curl --http2` offers HTTP/2 with each request."""
    async with connected() as connection:
        connection.writer.write(UPGRADE % (b"Upgrade, HTTP2-Settings", b"h2c"))

        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"nonsense" * 20_000, b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n"],
)
async def test_what_is_not_http_is_refused(sent: bytes) -> None:
    async with connected() as connection:
        connection.writer.write(sent)

        assert_refused(await connection.answer(), 400)
        assert await connection.is_closed()


async def test_more_requests_than_may_wait_on_a_connection_are_refused() -> None:
    async with connected() as connection:
        connection.writer.write(b"GET / HTTP/1.1\r\n\r\n" * (MAX_PIPELINED + 2))

        assert_refused(await connection.answer(), 400)


async def test_as_many_requests_as_may_wait_on_a_connection_are_answered_in_order() -> None:
    async with connected() as connection:
        connection.writer.write(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(MAX_PIPELINED + 1)))

        for number in range(MAX_PIPELINED + 1):
            assert (await connection.answer())[::2] == (200, b"/%d 0" % number)


async def test_into_the_answer_to_an_earlier_request_no_refusal_is_written() -> None:
    async with connected() as connection:
        connection.writer.write(b"GET /stream HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        assert await connection.first_line() == b"HTTP/1.1 200 OK\r\n"
        connection.writer.write(b"nonsense\r\n\r\n")

        assert b"HTTP/1.1" not in await connection.rest()
