"""Clients that ask for a body and do not read it: each is cut off, and costs one part of the body until then."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fixtures.bounded_server import WITHIN_S, BoundedServer, serving_bounded, value_of
from fixtures.log_lines import lines_about
from phoenix.api.server.stalled_sends import UNSENT_BYTES, count_in_kernel

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PART_BYTES = 2 * UNSENT_BYTES
"""More than the kernels take, so that the first part waits already."""
WHOLE_BYTES = 5_000_000


class LargeFile:
    """Answers with a large body in parts, and counts the parts that it has made."""

    def __init__(self) -> None:
        self.parts = 0
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await StreamingResponse(self._body())(scope, receive, send)
        finally:
            self.ended.set()

    async def _body(self) -> AsyncIterator[bytes]:
        for _ in range(WHOLE_BYTES // PART_BYTES):
            self.parts += 1
            await asyncio.sleep(0)
            yield bytes(PART_BYTES)


async def one_large_json(scope: Scope, receive: Receive, send: Send) -> None:
    """The task of this response has ended long before its client has read the body."""
    await Response(bytes(WHOLE_BYTES), media_type="application/json")(scope, receive, send)


async def until(is_reached: Callable[[], bool]) -> None:
    """Waits for what the kernel or a timer of the server brings about."""
    async with asyncio.timeout(WITHIN_S):
        while not is_reached():  # noqa: ASYNC110 - neither can be awaited
            await asyncio.sleep(0.005)


async def read_all(client: socket.socket) -> None:
    """Reads what the kernels still have, up to the end."""
    while await asyncio.get_running_loop().sock_recv(client, WHOLE_BYTES):
        pass


async def one_is_cut_off(server: BoundedServer) -> None:
    await until(lambda: value_of(server.meters.stalled_sends) > 0)


async def test_a_download_that_is_not_read_is_cut_off_and_its_response_ends() -> None:
    file = LargeFile()
    async with serving_bounded(file, send_timeout_s=0.2) as server:
        with server.connect(GET):
            await one_is_cut_off(server)
            async with asyncio.timeout(WITHIN_S):
                await file.ended.wait()

    assert file.parts < WHOLE_BYTES // PART_BYTES


async def test_of_a_download_that_is_not_read_one_part_waits() -> None:
    file = LargeFile()
    async with serving_bounded(file) as server:
        with server.connect(GET):
            await until(lambda: any(each.flow.write_paused for each in server.state.connections))
            for _ in range(100):  # turns in which the next part would be made
                await asyncio.sleep(0)

            assert file.parts == 1


async def test_a_body_whose_response_has_ended_is_cut_off_too() -> None:
    async with serving_bounded(one_large_json, send_timeout_s=0.2) as server:
        with server.connect(GET) as client:
            await one_is_cut_off(server)

            with pytest.raises(ConnectionResetError):
                await read_all(client)


async def test_the_log_names_the_request_that_was_cut_off(log_lines: io.StringIO) -> None:
    async with serving_bounded(one_large_json, send_timeout_s=0.2) as server:
        with server.connect(b"GET /v1/big HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            await one_is_cut_off(server)

    (line,) = lines_about(log_lines, "the client does not read its response")
    assert (line["path"], line["client"]) == ("/v1/big", "127.0.0.1")
    assert line["waiting_bytes"] > 1_000_000


async def test_what_a_slow_client_takes_shows_before_the_transport_can_send_more() -> None:
    async with serving_bounded(LargeFile()) as server:
        with server.connect(GET) as client:
            await until(lambda: any(each.flow.write_paused for each in server.state.connections))
            (connection,) = server.state.connections
            transport = connection.transport
            connected = transport.get_extra_info("socket")
            in_transport, in_kernel = transport.get_write_buffer_size(), count_in_kernel(connected)

            await asyncio.get_running_loop().sock_recv(client, UNSENT_BYTES // 8)

            await until(lambda: count_in_kernel(connected) < in_kernel)
            assert transport.get_write_buffer_size() == in_transport


async def test_of_pipelined_requests_the_one_that_is_answered_learns_that_the_client_left() -> None:
    messages: list[str] = []
    begun, left = asyncio.Event(), asyncio.Event()

    async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        begun.set()
        while not messages or messages[-1] != "http.disconnect":
            messages.append((await receive())["type"])
        left.set()

    async with serving_bounded(stream) as server:
        with server.connect(GET + GET):
            await asyncio.wait_for(begun.wait(), WITHIN_S)
        await asyncio.wait_for(left.wait(), WITHIN_S)
