"""Bounds on bodies, at the ASGI interface."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from phoenix.api.http.body_limits import BodyLimit, BodyLimits

Chunks = Sequence[bytes]


async def read(chunks: Chunks, limit: BodyLimit, *, path: str = "/", headers: Sequence[Any] = ()) -> bytes:
    """What an application behind the limits reads; after the last chunk the client sends nothing more."""
    pending = list(chunks)
    read_bytes = bytearray()

    async def receive() -> Message:
        if not pending:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pending.pop(0), "more_body": True}

    async def application(_scope: Scope, bounded: Receive, _send: Send) -> None:
        while len(read_bytes) < sum(map(len, chunks)) + 1:
            read_bytes.extend((await bounded())["body"])

    async def send(_message: Message) -> None:
        return None

    limits = BodyLimits(application, default=BodyLimit(10, 60), by_path={"/uploads": limit})
    await limits({"type": "http", "path": path, "headers": list(headers)}, receive, send)
    return bytes(read_bytes)


async def test_a_body_that_grows_too_large_is_cut_off_there() -> None:
    with pytest.raises(HTTPException) as refused:
        await read([b"x" * 6] * 1000, BodyLimit(0, 60))

    assert refused.value.status_code == 413
    assert refused.value.headers == {"Connection": "close"}


async def test_a_body_that_states_too_large_a_size_is_refused_unread() -> None:
    with pytest.raises(HTTPException) as refused:
        await read([], BodyLimit(0, 60), headers=[(b"content-length", b"11")])

    assert refused.value.status_code == 413


@pytest.mark.parametrize("stated", [b"-5", b"abc", b"9" * 400, "٣".encode()])
async def test_a_nonsensical_size_is_not_believed(stated: bytes) -> None:
    with pytest.raises(HTTPException) as refused:
        await read([b"x" * 11], BodyLimit(0, 60), headers=[(b"content-length", stated)])

    assert refused.value.status_code == 413


async def test_a_body_that_trickles_runs_out_of_time() -> None:
    with pytest.raises(HTTPException) as refused:
        await read([b"x"], BodyLimit(100, 0.05), path="/uploads")

    assert refused.value.status_code == 408


async def test_an_upload_that_stalls_is_cut_off_long_before_its_time_limit() -> None:
    with pytest.raises(HTTPException) as refused:
        await read([b"x"], BodyLimit(100, 600, stall_timeout_s=0.05), path="/uploads")

    assert (refused.value.status_code, refused.value.headers) == (408, {"Connection": "close"})
    assert "1024 bytes of the body arrived a second for 0.05 s" in refused.value.detail


async def test_a_path_may_have_a_limit_of_its_own() -> None:
    with pytest.raises(HTTPException) as refused:
        await read([b"x" * 50, b"x" * 51], BodyLimit(100, 60), path="/uploads")

    assert "100 bytes" in refused.value.detail


async def test_waiting_for_the_client_to_leave_has_no_time_limit() -> None:
    left = asyncio.Event()
    messages: list[Message] = []

    async def receive() -> Message:
        if not messages:
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def application(_scope: Scope, bounded: Receive, _send: Send) -> None:
        messages.append(await bounded())
        waiting = asyncio.create_task(bounded())
        await asyncio.sleep(0.05)
        left.set()
        messages.append(await waiting)

    async def send(_message: Message) -> None:
        return None

    limits = BodyLimits(application, default=BodyLimit(10, 0.01), by_path={})
    await limits({"type": "http", "path": "/", "headers": []}, receive, send)

    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]


async def answer_unread(headers: Sequence[Any]) -> list[Any]:
    """The headers of an answer that did not wait for the body."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody should read")

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    limits = BodyLimits(application, default=BodyLimit(10, 60), by_path={})
    await limits({"type": "http", "path": "/", "headers": list(headers)}, receive, send)
    return sent[0]["headers"]


@pytest.mark.parametrize("header", [(b"content-length", b"65537"), (b"transfer-encoding", b"chunked")])
async def test_a_connection_is_not_kept_for_the_sake_of_a_long_body_that_nobody_read(header: Any) -> None:
    assert await answer_unread([header]) == [(b"connection", b"close")]


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"65536")]])
async def test_a_connection_is_kept_where_little_or_nothing_is_left_to_read(headers: Sequence[Any]) -> None:
    assert await answer_unread(headers) == []
