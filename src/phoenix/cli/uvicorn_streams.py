"""What streams need of uvicorn and ASGI has not. The one file that knows uvicorn's object for a request."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from phoenix.api.event_stream import ABORT_EXTENSION, OUTLET_EXTENSION


class StreamExtensions:
    """Gives the application a way to drop a client that does not read, and one to write without a coroutine.

    uvicorn's own `close` would first wait until the client has read what is buffered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # `send` is a method of uvicorn's object for this request.
        cycle: Any = getattr(send, "__self__", None)
        if scope["type"] == "http" and hasattr(cycle, "transport"):
            extensions = scope.setdefault("extensions", {})
            extensions[ABORT_EXTENSION] = cycle.transport.abort
            # Only uvicorn's httptools implementation frames chunks by itself.
            if hasattr(cycle, "chunked_encoding"):
                extensions[OUTLET_EXTENSION] = ChunkedOutlet(cycle)
        await self._app(scope, receive, send)


class ChunkedOutlet:
    """Writes parts of an answer's body beside `send`, and as it would."""

    __slots__ = ("_cycle", "_flow", "_transport_write")

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._transport_write = cycle.transport.write

    @property
    def is_free(self) -> bool:
        """Whether the client keeps up, and the answer has begun and not ended."""
        cycle = self._cycle
        is_open = cycle.chunked_encoding and not cycle.response_complete and not cycle.disconnected
        return bool(is_open and not self._flow.write_paused)

    def push(self, chunk: bytes) -> None:
        """For an outlet that is free, and while nobody is in `send`."""
        self._transport_write(_framed(chunk))


class _LastChunk:
    """Many clients are sent the same bytes one after the other."""

    chunk = b""
    framed = b""


def _framed(chunk: bytes) -> bytes:
    """A chunk of HTTP/1.1."""
    if chunk is not _LastChunk.chunk:
        _LastChunk.chunk, _LastChunk.framed = chunk, b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return _LastChunk.framed
