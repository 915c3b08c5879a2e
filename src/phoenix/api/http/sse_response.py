"""The SSE response: one task writes chunks, another waits for the client to disconnect."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phoenix.async_tasks import in_background
from phoenix.events.sse.stream_loop import Outlet


class StalledSends:
    """Drops clients that stop reading. Checks all pending sends once a second; most end at once."""

    def __init__(self, time_limit_s: float) -> None:
        self._time_limit_s = time_limit_s
        self._since_s: dict[Callable[[], object], float] = {}
        self._clock_s = asyncio.get_running_loop().time

    def begin(self, drop: Callable[[], object]) -> None:
        """Marks the start of a send; `drop` is called if it takes too long."""
        self._since_s[drop] = self._clock_s()

    def end(self, drop: Callable[[], object]) -> None:
        self._since_s.pop(drop, None)

    def hurry(self) -> None:
        """Shortens the limit to a second at most: the process is shutting down."""
        self._time_limit_s = min(self._time_limit_s, 1.0)

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator["StalledSends"]:
        """Enforces the limit during the block."""
        async with in_background(self._look_forever(), name="stalled-sends"):
            yield self

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._time_limit_s / 2))
            limit_s = self._clock_s() - self._time_limit_s
            for drop in [drop for drop, since_s in self._since_s.items() if since_s < limit_s]:
                self.end(drop)
                drop()


ABORT_EXTENSION = "phoenix.abort"
"""In `scope["extensions"]`, if the server offers it: a callable that drops the connection and its buffered output."""
OUTLET_EXTENSION = "phoenix.outlet"
"""Likewise: an `Outlet` of this response. It bypasses the middleware, which never changes a body once begun."""

_HEADERS = {
    "Cache-Control": "no-store",
    # nginx would otherwise collect events until its buffer is full.
    "X-Accel-Buffering": "no",
    # The URL may hold a token.
    "Referrer-Policy": "no-referrer",
}

MakeChunks = Callable[[Outlet | None], AsyncGenerator[bytes]]
"""Starts a stream, which may push to the outlet while its next chunk is awaited."""


class EventStream(Response):
    """A `text/event-stream` response of chunks that are already encoded."""

    media_type = "text/event-stream"

    def __init__(self, make_chunks: MakeChunks, sends: StalledSends, status_code: int = 200) -> None:
        super().__init__(status_code=status_code, headers=_HEADERS)
        del self.headers["content-length"]
        self._make_chunks = make_chunks
        self._sends = sends
        self._has_left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        writing = asyncio.current_task()
        assert writing is not None
        leaving = asyncio.create_task(self._wait_until_left(receive, writing))
        extensions = scope.get("extensions", {})
        chunks = self._make_chunks(extensions.get(OUTLET_EXTENSION))
        try:
            await self._write(chunks, send, extensions.get(ABORT_EXTENSION) or self._leave(writing))
        except asyncio.CancelledError:
            if not self._has_left or writing.uncancel():
                raise
        finally:
            leaving.cancel()
            await chunks.aclose()

    async def _write(self, chunks: AsyncGenerator[bytes], send: Send, drop: Callable[[], Any]) -> None:
        sends = self._sends
        async for chunk in chunks:
            sends.begin(drop)
            try:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                sends.end(drop)
        await send({"type": "http.response.body", "body": b""})

    async def _wait_until_left(self, receive: Receive, writing: "asyncio.Task[Any]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave(writing)()

    def _leave(self, writing: "asyncio.Task[Any]") -> Callable[[], None]:
        def leave() -> None:
            if not self._has_left:
                self._has_left = True
                writing.cancel()

        return leave
