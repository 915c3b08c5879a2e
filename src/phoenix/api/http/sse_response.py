"""The SSE response: one task writes chunks, another waits for the client to disconnect."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phoenix.events.sse.stream_loop import DirectSink

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

    def __init__(self, make_chunks: MakeChunks, status_code: int = 200) -> None:
        super().__init__(status_code=status_code, headers=_HEADERS)
        del self.headers["content-length"]
        self._make_chunks = make_chunks
        self._is_disconnected = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        writing = asyncio.current_task()
        assert writing is not None
        disconnecting = asyncio.create_task(self._wait_for_disconnect(receive, writing))
        chunks = self._make_chunks(scope.get("extensions", {}).get(DIRECT_SINK_EXTENSION))
        try:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if not self._is_disconnected or writing.uncancel():
                raise
        finally:
            disconnecting.cancel()
            await chunks.aclose()

    async def _wait_for_disconnect(self, receive: Receive, writing: "asyncio.Task[Any]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_disconnected = True
        writing.cancel()
