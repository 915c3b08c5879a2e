"""Sends a stream of SSE bytes: one task that writes, one that waits for the client to leave, no timer of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

ABORT_EXTENSION = "phoenix.abort"
"""In `scope["extensions"]`, where the server offers it: a call that drops the connection with what it has buffered."""

_HEADERS = {
    "Cache-Control": "no-store",
    # nginx would otherwise collect events until its buffer is full.
    "X-Accel-Buffering": "no",
    # The URL may hold a token.
    "Referrer-Policy": "no-referrer",
}


class StalledSends:
    """Drops clients that do not read, by one look at all sends per second; most sends end at once."""

    def __init__(self, time_limit_s: float) -> None:
        self._time_limit_s = time_limit_s
        self._since_s: dict[Callable[[], object], float] = {}
        self._clock_s = asyncio.get_running_loop().time

    def begin(self, drop: Callable[[], object]) -> None:
        """A send begins; `drop` is called if it takes too long."""
        self._since_s[drop] = self._clock_s()

    def end(self, drop: Callable[[], object]) -> None:
        self._since_s.pop(drop, None)

    def hurry(self) -> None:
        """The process is ending: waits for nobody any more."""
        self._time_limit_s = min(self._time_limit_s, 1.0)

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator["StalledSends"]:
        """Looks while entered."""
        task = asyncio.create_task(self._look_forever(), name="stalled-sends")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._time_limit_s / 2))
            limit_s = self._clock_s() - self._time_limit_s
            for drop in [drop for drop, since_s in self._since_s.items() if since_s < limit_s]:
                self.end(drop)
                drop()


class EventStream(Response):
    """`text/event-stream` of chunks that are encoded already."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes], sends: StalledSends, status_code: int = 200) -> None:
        super().__init__(status_code=status_code, headers=_HEADERS)
        del self.headers["content-length"]
        self._chunks = chunks
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
        try:
            await self._write(send, scope.get("extensions", {}).get(ABORT_EXTENSION) or self._leave(writing))
        except asyncio.CancelledError:
            if not self._has_left or writing.uncancel():
                raise
        finally:
            leaving.cancel()
            await self._chunks.aclose()

    async def _write(self, send: Send, drop: Callable[[], Any]) -> None:
        sends = self._sends
        async for chunk in self._chunks:
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
