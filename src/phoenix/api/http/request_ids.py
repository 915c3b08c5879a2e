"""The id, the trace and the key of a request, stored in its ASGI scope. A client may send its own id."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from phoenix.ids import new_request_id
from phoenix.telemetry import traces
from phoenix.telemetry.spans import NO_SPAN, TraceSpan, is_tracing, start_span

HEADER = "X-Request-ID"
MAX_LENGTH = 128
_KEY = "phoenix.request_id"
_TRACE = "phoenix.traceparent"
_PRESENTED = "phoenix.presented"
_UNTRACED = ("/health", "/metrics")


def assign_request_id(scope: Scope) -> str:
    """Takes the id from the header, or makes one if the header is not usable, and stores it in the scope."""
    given = Headers(scope=scope).get(HEADER, "")
    # Anything else could break a log line or a header.
    is_usable = 0 < len(given) <= MAX_LENGTH and given.isascii() and given.isprintable()
    scope[_KEY] = given if is_usable else new_request_id()
    return scope[_KEY]


def request_id_of(scope: Scope) -> str:
    return scope[_KEY]


def find_request_id(scope: Mapping[str, Any]) -> str | None:
    """None before `assign_request_id`."""
    return scope.get(_KEY)


def store_traceparent(scope: Scope) -> str | None:
    """Takes the trace from the header and stores it in the scope; None unless there is exactly one valid header."""
    given = Headers(scope=scope).getlist(traces.HEADER)
    scope[_TRACE] = traces.parse_traceparent(given[0]) if len(given) == 1 else None
    return scope[_TRACE]


def start_request_span(scope: Scope) -> TraceSpan:
    """Starts the span of a request, and stores its trace in the scope: what the request causes belongs to the span.

    Call it after `store_traceparent`. Probes and scrapes have no spans.
    """
    if not is_tracing() or scope["path"].startswith(_UNTRACED):
        return NO_SPAN
    attributes = {"http.request.method": scope["method"], "url.path": scope["path"], "phoenix.request_id": scope[_KEY]}
    span = start_span(scope["method"], parent=scope[_TRACE], kind="server", attributes=attributes)
    scope[_TRACE] = span.traceparent
    return span


def traceparent_of(scope: Scope) -> str | None:
    return scope[_TRACE]


def record_presented(scope: Scope, key_id: str, secret_id: str) -> None:
    """Stores which key, and which of its secrets, the caller presented or made its token with."""
    scope[_PRESENTED] = (key_id, secret_id)


def forget_presented(scope: Scope) -> None:
    """Undoes `record_presented`, for a key that turns out to be invalid."""
    scope.pop(_PRESENTED, None)


def presented_of(scope: Scope) -> tuple[str, str] | None:
    """What `record_presented` stored: the ids of a key and of its secret. None where no key is needed."""
    return scope.get(_PRESENTED)


def audit_fields(scope: Scope) -> Mapping[str, str | None]:
    """Who made the request, for its log line. The key is None if the request had no valid key or needs none."""
    key_id, secret_id = scope.get(_PRESENTED) or (None, None)
    client = scope.get("client")
    return {"client": client[0] if client else None, "key_id": key_id, "secret_id": secret_id}
