"""What bodies in parts need from uvicorn. Only this file uses uvicorn's request object."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phoenix.api.http.sse_response import DIRECT_SINK_EXTENSION


class BodyExtensions:
    """Makes `send` wait until the kernel has a part of a body, and lets streams write without a coroutine.

    uvicorn's own `send` waits before a part is written. Each client that does not read would cost two parts: the part
    that waits in the transport, and the next part.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # `send` is a method of uvicorn's object for this request.
        cycle: Any = getattr(send, "__self__", None)
        if scope["type"] == "http" and hasattr(cycle, "transport"):
            # Only uvicorn's httptools implementation frames chunks by itself.
            if hasattr(cycle, "chunked_encoding"):
                scope.setdefault("extensions", {})[DIRECT_SINK_EXTENSION] = ChunkedSink(cycle)
            send = _draining(send, cycle)
        await self._app(scope, receive, send)


def _draining(send: Send, cycle: Any) -> Send:
    flow = cycle.flow

    async def send_and_drain(message: Message) -> None:
        await send(message)
        # The last part may wait without a task: the time limit of the connection holds for it too.
        if flow.write_paused and message.get("more_body") and not cycle.disconnected:
            await flow.drain()

    return send_and_drain


class ChunkedSink:
    """Writes chunks of a response body as `send` does, but without a coroutine."""

    __slots__ = ("_cycle", "_flow", "_transport_write")

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._transport_write = cycle.transport.write

    @property
    def is_free(self) -> bool:
        """Whether the client keeps up, and the response has begun but not ended."""
        cycle = self._cycle
        is_open = cycle.chunked_encoding and not cycle.response_complete and not cycle.disconnected
        return bool(is_open and not self._flow.write_paused)

    def push(self, chunk: bytes) -> None:
        """Writes the chunk. Call it only if the sink is free and no `send` is in progress."""
        self._transport_write(_framed(chunk))


class _LastChunk:
    """The last chunk and its frame, because many clients get the same bytes one after the other."""

    chunk = b""
    framed = b""


def _framed(chunk: bytes) -> bytes:
    """The bytes as an HTTP/1.1 chunk."""
    if chunk is not _LastChunk.chunk:
        _LastChunk.chunk, _LastChunk.framed = chunk, b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return _LastChunk.framed
