"""The id and the trace of a request, stored in its ASGI scope. A client may send its own id."""

from starlette.datastructures import Headers
from starlette.types import Scope

from phoenix.ids import new_request_id
from phoenix.telemetry import traces

HEADER = "X-Request-ID"
MAX_LENGTH = 128
_KEY = "phoenix.request_id"
_TRACE = "phoenix.traceparent"


def assign_request_id(scope: Scope) -> str:
    """Takes the id from the header, or makes one if the header is not usable, and stores it in the scope."""
    given = Headers(scope=scope).get(HEADER, "")
    # Anything else could break a log line or a header.
    is_usable = 0 < len(given) <= MAX_LENGTH and given.isascii() and given.isprintable()
    scope[_KEY] = given if is_usable else new_request_id()
    return scope[_KEY]


def request_id_of(scope: Scope) -> str:
    return scope[_KEY]


def store_traceparent(scope: Scope) -> str | None:
    """Takes the trace from the header and stores it in the scope; None unless there is exactly one valid header."""
    given = Headers(scope=scope).getlist(traces.HEADER)
    scope[_TRACE] = traces.parse_traceparent(given[0]) if len(given) == 1 else None
    return scope[_TRACE]


def traceparent_of(scope: Scope) -> str | None:
    return scope[_TRACE]
