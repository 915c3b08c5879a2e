"""Limits the size of request bodies and the time that they take. The connection of a client at the limit is closed."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phoenix.api.http.minimum_rate import MIN_BYTES_PER_S, Received
from phoenix.clock import in_seconds

# Without it, the server would read the rest of the body before it uses the connection again.
CLOSE_CONNECTION = {"Connection": "close"}

_SKIPPED_BYTES = 65_536
"""A body of this size is read to its end after an early response, which costs less than a new connection."""


@dataclass(frozen=True)
class BodyLimit:
    """The limits of one body."""

    max_bytes: int
    timeout_s: float
    """Seconds for the whole body."""
    stall_timeout_s: float = math.inf
    """Seconds in which a body that is awaited has to advance by `MIN_BYTES_PER_S` each."""


class BodyLimits:
    """Makes reading a body that is too large or too slow raise 413 or 408, as an `HTTPException`.

    FastAPI lets no other kind of error through while it reads a body. The connection is also closed if a response is
    sent before a long body was read, such as the response to a request without a key.
    """

    def __init__(self, app: ASGIApp, *, default: BodyLimit, by_path: Mapping[str, BodyLimit]) -> None:
        self._app = app
        self._default = default
        self._by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            limit = self._by_path.get(scope["path"], self._default)
            receive = _BoundedReceive(receive, limit, declared_bytes=declared_bytes(scope))
            if _may_be_long(scope):
                send = _closing_connection(send, receive)
        await self._app(scope, receive, send)


class _BoundedReceive:
    """One request's `receive`."""

    def __init__(self, receive: Receive, limit: BodyLimit, *, declared_bytes: int) -> None:
        self._receive = receive
        self._limit = limit
        self.declared_bytes = declared_bytes
        self._received_bytes = 0
        self._clock_s = asyncio.get_running_loop().time
        self._ends_at_s = self._clock_s() + limit.timeout_s
        self._received = Received(limit.stall_timeout_s)
        self.is_complete = False

    async def __call__(self) -> Message:
        if self.is_complete:
            return await self._receive()  # now it only waits for the client to disconnect
        self._check(self.declared_bytes)
        message = await self._receive_in_time()
        self._received_bytes += len(message.get("body", b""))
        self._check(self._received_bytes)
        self.is_complete = not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message:
        while True:
            began_s = self._clock_s()
            deadline = asyncio.timeout_at(min(self._ends_at_s, began_s + self._received.left_s))
            try:
                # To cancel uvicorn in this wait loses nothing of the body.
                async with deadline:
                    message = await self._receive()
            except TimeoutError:
                if not deadline.expired():
                    raise
                self._received.add(0, self._clock_s() - began_s)
                self._check_time()
            else:
                self._received.add(len(message.get("body", b"")), self._clock_s() - began_s)
                return message

    def _check_time(self) -> None:
        if self._clock_s() >= self._ends_at_s:
            raise _too_slow(f"The body did not arrive within {in_seconds(self._limit.timeout_s)}.")
        if self._received.has_stalled():
            period = in_seconds(self._limit.stall_timeout_s)
            raise _too_slow(f"Less than {MIN_BYTES_PER_S} bytes of the body arrived a second for {period}.")

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit.max_bytes:
            detail = f"The body is larger than {self._limit.max_bytes} bytes, which is the limit here."
            raise HTTPException(413, detail, headers=CLOSE_CONNECTION)


def _too_slow(detail: str) -> HTTPException:
    return HTTPException(408, detail, headers=CLOSE_CONNECTION)


def _closing_connection(send: Send, body: _BoundedReceive) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start" and not body.is_complete:
            MutableHeaders(scope=message).update(CLOSE_CONNECTION)
        await send(message)

    return forward


def _may_be_long(scope: Scope) -> bool:
    return "transfer-encoding" in Headers(scope=scope) or declared_bytes(scope) > _SKIPPED_BYTES


def declared_bytes(scope: Scope) -> int:
    """The length of the body as the client declares it; 0 if it declares none."""
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() and len(declared) < 19 else 0
