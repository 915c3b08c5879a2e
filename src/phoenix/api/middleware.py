"""ASGI middleware around every request: id and trace, log, metrics, host, CORS, and a 500 for unexpected errors."""

import logging
import time

from sse_starlette.sse import SendTimeoutError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phoenix.access.host_policy import HostPolicy
from phoenix.access.rate_limits import rate_limit_headers
from phoenix.api.errors.problems import explain, problem_response, refusal_of
from phoenix.api.http.request_ids import (
    HEADER,
    assign_request_id,
    audit_fields,
    start_request_span,
    store_traceparent,
    traceparent_of,
)
from phoenix.errors import RequestError
from phoenix.telemetry import traces
from phoenix.telemetry.logs import get_logger, log_context
from phoenix.telemetry.meters import Meters
from phoenix.telemetry.spans import TraceSpan

_logger = get_logger(__name__)

ARRIVED_KEY = "phoenix.arrived_s"
"""Where the server leaves the monotonic time at which it had the head of a request, in the scope."""

# Many responses contain text of clients, which no browser may sniff as HTML.
_SAFE = {"X-Content-Type-Options": "nosniff"}


class RequestLog:
    """The outermost middleware: gives each request an id, echoes id and trace, and logs the request at its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, traceparent = assign_request_id(scope), store_traceparent(scope)
        span = start_request_span(scope)
        traceparent = span.traceparent or traceparent
        echoed = {HEADER: request_id, **_SAFE} | ({traces.HEADER: traceparent} if traceparent else {})
        arrived_s = scope.get(ARRIVED_KEY, time.monotonic())
        status = 499  # nginx's status for a client that left before the response

        async def record(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({**echoed, **rate_limit_headers(scope)})
            await send(message)

        with log_context(request_id=request_id, **traces.trace_fields(traceparent)):
            try:
                await self._app(scope, receive, record)
            finally:
                end_request_span(span, scope, status)
                # structlog would build the line before it looks whether anybody wants it.
                if logging.getLogger(__name__).isEnabledFor(logging.INFO):
                    _log_request(scope, status, time.monotonic() - arrived_s)


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    # Without the query string, which may contain a token.
    _logger.info(
        "request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        duration_ms=round(seconds * 1000, 1),
        **audit_fields(scope),
    )


def end_request_span(span: TraceSpan, scope: Scope, status: int) -> None:
    """Ends the span of a request, with the template of its route in its name."""
    route = getattr(scope.get("route"), "path", None)
    span.set(
        {"http.response.status_code": status, "http.route": route},
        name=f"{scope['method']} {route}" if route else None,
    )
    if status >= 500:
        span.fail(f"status {status}")
    span.end()


class ErrorBoundary:
    """Logs an error that no handler knows, and responds with a bare 500. Starlette's own would also re-raise it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_started = False

        async def watch(message: Message) -> None:
            nonlocal is_started
            is_started = is_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except (ClientDisconnect, SendTimeoutError):
            # The client has left or stopped reading: there is nobody to respond to, and this is no error of the server.
            return
        except Exception as error:
            if is_started:
                # The client must see the response break off, and not take a part for the whole.
                raise
            _logger.exception("request failed")
            await problem_response(scope, explain(error))(scope, receive, send)


_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Counts responses by the route's template. Labels with the path would grow without bound."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived_s = scope.get(ARRIVED_KEY, time.monotonic())
        is_stream = False

        async def watch(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                self._record(scope, message["status"], time.monotonic() - arrived_s)
                is_stream = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
                if is_stream:
                    self._meters.open_streams.inc()
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if is_stream:
                self._meters.open_streams.dec()

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        trace_id = traces.find_sampled_trace(traceparent_of(scope))
        self._meters.observe_response(method, route, status, seconds, trace_id=trace_id)
        if (refusal := refusal_of(scope)) is not None:
            self._meters.count_refusal(*refusal)


class HostCheck:
    """Refuses requests that the host policy forbids, before anything of the body is read."""

    def __init__(self, app: ASGIApp, policy: HostPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._policy.check(scope["method"], scope["http_version"], Headers(scope=scope))
            except RequestError as refused:
                await problem_response(scope, explain(refused))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Cors(CORSMiddleware):
    """Lets pages of the listed origins read responses."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except _PreflightRefused as refused:
            await problem_response(scope, explain(refused))(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:
            raise _PreflightRefused(400, f"{bytes(response.body).decode()}.", {"Vary": response.headers["Vary"]})
        return response


class _PreflightRefused(HTTPException):
    """A separate type, so that no error of the application is mistaken for it."""
