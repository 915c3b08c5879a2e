"""Limits the size of request heads and the time that they take, which uvicorn's httptools protocol does not."""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from phoenix.api.errors.problems import ExplainedError, problem_response
from phoenix.api.http.request_ids import assign_request_id
from phoenix.clock import in_seconds
from phoenix.errors import ProblemCode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

MAX_HEAD_BYTES = 65_536
"""Limit of the request line and headers: four times as much as the cookies of a browser can take."""
_LINGER_S = 2.0
_NO_WEBSOCKET = "There is no websocket here. Follow a job by GET /v1/jobs/{id}/events, which is text/event-stream."


class BoundedHeads(HttpToolsProtocol):
    """One connection. Refuses a head with problem+json, and closes the connection."""

    def __init__(self, *args: Any, head_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
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
            raise _Refused
        if any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers):
            self._refuse(HTTPStatus.BAD_REQUEST, _NO_WEBSOCKET)
            raise _Refused
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, f"This is not HTTP: {msg}")

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
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"No whole head came within {in_seconds(self._head_timeout_s)}.")
        else:
            self.transport.close()

    def _refuse_large(self) -> None:
        detail = f"The head is larger than {MAX_HEAD_BYTES} bytes, which is the limit here."
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        if self._is_refused or self.transport.is_closing():
            return  # the parser fails as well after a refusal
        self._is_refused = True
        if self._is_answering():
            self.transport.close()
            return
        scope: dict[str, Any] = {"type": "http", "path": "", "headers": []}
        request_id, client = assign_request_id(scope), self.client[0] if self.client else None
        _logger.info("request refused", request_id=request_id, status=status.value, detail=detail, client=client)
        answer = problem_response(scope, ExplainedError(ProblemCode.INVALID_REQUEST, status.value, detail))
        headers = [*answer.raw_headers, (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        # Closing with unread bytes would reset the connection, and the response would be lost.
        self.transport.write_eof()
        self._end_head()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _is_answering(self) -> bool:
        """Whether a response has started, so that no other can be sent. If so, stops the task that writes it."""
        if self.cycle is None or self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return self.cycle.response_started


class _Refused(Exception):
    """Makes the parser stop."""
