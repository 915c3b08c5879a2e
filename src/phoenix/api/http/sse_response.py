"""The SSE response: one task writes chunks, another waits for the client to disconnect."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phoenix.async_tasks import in_background
from phoenix.events.sse.stream_loop import DirectSink


class SendTimeouts:
    """Drops clients that stop reading. Checks all pending sends once a second, as most end at once."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since_s: dict[Callable[[], object], float] = {}
        self._clock_s = asyncio.get_running_loop().time

    def begin(self, drop: Callable[[], object]) -> None:
        """Marks the start of a send; `drop` is called if it takes too long."""
        self._since_s[drop] = self._clock_s()

    def end(self, drop: Callable[[], object]) -> None:
        self._since_s.pop(drop, None)

    def shorten(self) -> None:
        """Shortens the limit to at most a second, for a process that is shutting down."""
        self._timeout_s = min(self._timeout_s, 1.0)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["SendTimeouts"]:
        """Enforces the limit during the block."""
        async with in_background(self._check_forever(), name="send-timeouts"):
            yield self

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._timeout_s / 2))
            limit_s = self._clock_s() - self._timeout_s
            for drop in [drop for drop, since_s in self._since_s.items() if since_s < limit_s]:
                self.end(drop)
                drop()


ABORT_EXTENSION = "phoenix.abort"
"""In `scope["extensions"]`, if the server offers it: a callable that drops the connection and its buffered output."""
DIRECT_SINK_EXTENSION = "phoenix.direct_sink"
"""In `scope["extensions"]`: a `DirectSink` of this response. It bypasses the middleware, which only changes headers."""

_HEADERS = {
    "Cache-Control": "no-store",
    # nginx would otherwise collect events until its buffer is full.
    "X-Accel-Buffering": "no",
    # The URL may hold a token.
    "Referrer-Policy": "no-referrer",
}

MakeChunks = Callable[[DirectSink | None], AsyncGenerator[bytes]]
"""Starts a stream. It may push to the sink while the response waits for the next chunk."""


class EventStream(Response):
    """A `text/event-stream` response of chunks that are already encoded."""

    media_type = "text/event-stream"

    def __init__(self, make_chunks: MakeChunks, send_timeouts: SendTimeouts, status_code: int = 200) -> None:
        super().__init__(status_code=status_code, headers=_HEADERS)
        del self.headers["content-length"]
        self._make_chunks = make_chunks
        self._send_timeouts = send_timeouts
        self._is_disconnected = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        writing = asyncio.current_task()
        assert writing is not None
        disconnecting = asyncio.create_task(self._wait_for_disconnect(receive, writing))
        extensions = scope.get("extensions", {})
        chunks = self._make_chunks(extensions.get(DIRECT_SINK_EXTENSION))
        try:
            await self._write(chunks, send, extensions.get(ABORT_EXTENSION) or self._make_canceler(writing))
        except asyncio.CancelledError:
            if not self._is_disconnected or writing.uncancel():
                raise
        finally:
            disconnecting.cancel()
            await chunks.aclose()

    async def _write(self, chunks: AsyncGenerator[bytes], send: Send, drop: Callable[[], Any]) -> None:
        send_timeouts = self._send_timeouts
        async for chunk in chunks:
            send_timeouts.begin(drop)
            try:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                send_timeouts.end(drop)
        await send({"type": "http.response.body", "body": b""})

    async def _wait_for_disconnect(self, receive: Receive, writing: "asyncio.Task[Any]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._make_canceler(writing)()

    def _make_canceler(self, writing: "asyncio.Task[Any]") -> Callable[[], None]:
        def cancel() -> None:
            if not self._is_disconnected:
                self._is_disconnected = True
                writing.cancel()

        return cancel
