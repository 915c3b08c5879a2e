"""Measures every request for `/metrics`: its time to the first byte, and how many streams are open."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phoenix.telemetry.meters import Meters

_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMeter:
    """Labels by the route's template, never by the path: ids in labels would grow without bound."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.monotonic()
        is_stream = False

        async def watch(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                self._note(scope, message["status"], time.monotonic() - started_s)
                is_stream = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
                if is_stream:
                    self._meters.open_streams.inc()
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if is_stream:
                self._meters.open_streams.dec()

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        self._meters.note_answer(method, route, status, seconds)
