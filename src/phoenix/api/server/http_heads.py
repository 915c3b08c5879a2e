"""Limits the size, time and number of the heads of a connection, which uvicorn's httptools protocol does not."""

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from phoenix.api.errors.problems import ExplainedError, problem_response
from phoenix.api.http.request_ids import assign_request_id
from phoenix.clock import in_seconds
from phoenix.errors import ProblemCode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

MAX_HEAD_BYTES = 65_536
"""Limit of the request line and headers: four times as much as the cookies of a browser can take."""
MAX_PIPELINED = 16
"""Requests that may wait for the response to an earlier one. A packet of 256 KiB could hold 14,000 of them."""
_LINGER_S = 2.0
_SCHEMES = frozenset({b"http", b"https"})
_ODD_TARGET = "The target of a request is a path, or a URL with http or https and without a user name."
_NO_WEBSOCKET = "There is no websocket here. Follow a job by GET /v1/jobs/{id}/events, which is text/event-stream."


class BoundedHeads(HttpToolsProtocol):
    """One connection. Refuses a head with problem+json, and closes the connection."""

    def __init__(self, *args: Any, head_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        # `self.cycle` is the request that was read last. Of pipelined requests, an earlier request is answered.
        self._answered: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._stop_answering()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        # Checked afterwards, because most data that arrives together with a head is its body.
        if self._timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_large()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._begin_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_large()
            raise Refused
        self._use_absolute_target()
        if any(name == b"upgrade" and b"websocket" in _split(value) for name, value in self.headers):
            self._refuse_head(HTTPStatus.BAD_REQUEST, _NO_WEBSOCKET)
            raise Refused
        if len(self.pipeline) >= MAX_PIPELINED:
            detail = f"More than {MAX_PIPELINED} requests wait on this connection. Send a request after a response."
            self._refuse_head(HTTPStatus.BAD_REQUEST, detail)
            raise Refused
        self.check_admission()
        super().on_headers_complete()

    def check_admission(self) -> None:
        """Called before a request begins. May `refuse` it, and then raises `Refused`."""

    def _use_absolute_target(self) -> None:
        """Lets the host of a target such as `http://host/path` replace the Host header, as RFC 9112 (3.2.2) requires.

        httptools passes on only the path of the target. A request could otherwise name one host, and be checked by
        another. A missing or doubled Host header stays as it is: it is wrong with every target.
        """
        if self.url.startswith((b"/", b"*")):
            return
        target = urlsplit(self.url)
        if target.scheme not in _SCHEMES or b"@" in target.netloc:
            self._refuse_head(HTTPStatus.BAD_REQUEST, _ODD_TARGET)
            raise Refused
        at = [index for index, (name, _) in enumerate(self.headers) if name == b"host"]
        if len(at) == 1:
            # In place: the scope of the request has the same list.
            self.headers[at[0]] = (b"host", target.netloc)
        query = b"?" + target.query if target.query else b""
        self.url = (target.path or b"/") + query

    def send_400_response(self, msg: str) -> None:
        self._refuse_head(HTTPStatus.BAD_REQUEST, f"This is not HTTP: {msg}")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _begin_head(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(self._head_timeout_s, self._refuse_slow)

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse_slow(self) -> None:
        self._timer = None
        if self._head_bytes:
            detail = f"No whole head came within {in_seconds(self._head_timeout_s)}."
            self._refuse_head(HTTPStatus.REQUEST_TIMEOUT, detail)
        else:
            self.transport.close()

    def _refuse_large(self) -> None:
        detail = f"The head is larger than {MAX_HEAD_BYTES} bytes, which is the limit here."
        self._refuse_head(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)

    def _refuse_head(self, status: HTTPStatus, detail: str) -> None:
        if problem := self.refuse(ExplainedError(ProblemCode.INVALID_REQUEST, status.value, detail)):
            client = self.client[0] if self.client else None
            _logger.info("request refused", request_id=problem, status=status.value, detail=detail, client=client)

    def refuse(self, explained: ExplainedError) -> str | None:
        """Sends the problem and closes the connection. Returns the request id of the problem; None if none was sent."""
        if self._is_refused or self.transport.is_closing():
            return None  # the parser fails as well after a refusal
        self._is_refused = True
        if self._stop_answering():
            self.transport.close()
            return None
        scope: dict[str, Any] = {"type": "http", "path": "", "headers": []}
        request_id = assign_request_id(scope)
        answer = problem_response(scope, explained)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        line = f"HTTP/1.1 {explained.status} {HTTPStatus(explained.status).phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        # Closing with unread bytes would reset the connection, and the response would be lost.
        self.transport.write_eof()
        self._end_head()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)
        return request_id

    def _stop_answering(self) -> bool:
        """Stops the task that writes a response. Returns whether it has begun, so that no other can be sent."""
        cycle = self._answered
        if cycle is None or cycle.response_complete:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return cycle.response_started


def _split(value: bytes) -> list[bytes]:
    """The entries of a header that is a list, in lower case."""
    return [entry.strip().lower() for entry in value.split(b",")]


class Refused(Exception):
    """Makes the parser stop."""
