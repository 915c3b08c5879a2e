"""What streams get of a real uvicorn: bytes written beside `send`, and how a client that does not read shows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from phoenix.api.http.sse_response import DIRECT_SINK_EXTENSION
from phoenix.api.server.chunked_sink import BodyExtensions, ChunkedSink

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
END = {"type": "http.response.body", "body": b""}
TIMEOUT_S = 100

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


def part(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


@asynccontextmanager
async def serving(answer: Answer, http: Literal["httptools", "h11"] = "httptools") -> AsyncIterator[int]:
    """The port of a server that answers so."""
    config = uvicorn.Config(BodyExtensions(answer), http=http, port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await task


async def fetch(port: int) -> bytes:
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as client:
        return (await client.get(f"http://127.0.0.1:{port}/")).content


async def until(is_reached: Callable[[], bool]) -> None:
    for _ in range(6000):
        if is_reached():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to that")


async def test_what_is_pushed_and_what_is_sent_make_one_body_in_order() -> None:
    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        sink: ChunkedSink = scope["extensions"][DIRECT_SINK_EXTENSION]
        await send(START)
        for number in range(300):
            await send(part(b"sent %d\n" % number))
            assert sink.is_free
            sink.push(b"pushed %d\n" % number)
        await send(END)

    async with serving(answer) as port:
        body = await fetch(port)
    assert body.splitlines() == [b"%s %d" % (how, n) for n in range(300) for how in (b"sent", b"pushed")]


async def test_a_sink_is_free_only_from_the_start_of_the_answer_to_its_end() -> None:
    was_free: list[bool] = []

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        sink: ChunkedSink = scope["extensions"][DIRECT_SINK_EXTENSION]
        was_free.append(sink.is_free)
        await send(START)
        was_free.append(sink.is_free)
        await send(END)
        was_free.append(sink.is_free)

    async with serving(answer) as port:
        await fetch(port)
    assert was_free == [False, True, False]


async def test_a_sink_is_not_free_while_the_client_does_not_read() -> None:
    sinks: list[ChunkedSink] = []
    over = asyncio.Event()

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        sinks.append(scope["extensions"][DIRECT_SINK_EXTENSION])
        await over.wait()

    async with serving(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: bool(sinks))
        (sink,) = sinks
        for _ in range(1000):
            if not sink.is_free:
                break
            sink.push(b"x" * 100_000)
            await asyncio.sleep(0)
        assert not sink.is_free
        while not sink.is_free:
            async with asyncio.timeout(TIMEOUT_S):
                await reader.read(1_000_000)
        over.set()
        writer.close()


async def test_a_sink_is_not_free_once_the_client_has_left() -> None:
    sinks: list[ChunkedSink] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        sinks.append(scope["extensions"][DIRECT_SINK_EXTENSION])
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(answer) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: bool(sinks))
        assert sinks[0].is_free
        writer.close()
        await until(lambda: not sinks[0].is_free)


@pytest.mark.parametrize(("http", "offered"), [("httptools", True), ("h11", False)])
async def test_a_sink_is_offered_where_the_server_frames_chunks_itself(
    http: Literal["httptools", "h11"], *, offered: bool
) -> None:
    extensions: list[set[str]] = []

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        extensions.append(set(scope.get("extensions", {})))
        await send(START)
        await send(END)

    async with serving(answer, http) as port:
        await fetch(port)
    assert (DIRECT_SINK_EXTENSION in extensions[0]) is offered
