"""One connection of a client, with all the limits of connections: heads, stalled sends, and their number."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from phoenix.api.errors.problems import explain
from phoenix.api.http.request_ids import find_request_id
from phoenix.api.server.connection_cap import SPARE_PATHS, Admission, ConnectionCap
from phoenix.api.server.http_heads import BoundedHeads, Refused
from phoenix.api.server.stalled_sends import SendMonitor
from phoenix.errors import Unavailable
from phoenix.telemetry.logs import get_logger
from phoenix.telemetry.meters import Meters

_logger = get_logger(__name__)

_SPARE_HEAD_TIMEOUT_S = 2.0
_RETRY_AFTER_S = 5
_RESET_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class ConnectionLimits:
    """What all connections of a process share."""

    head_timeout_s: float
    send_timeout_s: float
    cap: ConnectionCap
    meters: Meters


class BoundedConnection(BoundedHeads):
    """A connection that ends when its client reads too little, and answers little if there are too many others."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, head_timeout_s=limits.head_timeout_s, **kwargs)
        self._limits = limits
        self._sends: SendMonitor | None = None
        self._admission = Admission.NORMAL

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._admission = self._limits.cap.enter()
        if self._admission is Admission.SPARE:
            self._head_timeout_s = min(self._head_timeout_s, _SPARE_HEAD_TIMEOUT_S)
        super().connection_made(transport)
        self._sends = SendMonitor(transport, timeout_s=self._limits.send_timeout_s, on_stall=self._cut_off)
        if self._admission is Admission.REFUSED:
            self._limits.cap.count_refusal()
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.cap.leave()
        if self._sends is not None:
            self._sends.end()
        super().connection_lost(exc)

    def check_admission(self) -> None:
        if self._is_spare and self.url.partition(b"?")[0].decode(errors="replace") not in SPARE_PATHS:
            self._limits.cap.count_refusal()
            full = Unavailable("This server has too many connections open.", retry_after_s=_RETRY_AFTER_S)
            self.refuse(explain(full))
            raise Refused

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._is_spare:
            self.cycle.keep_alive = False

    @property
    def _is_spare(self) -> bool:
        return self._admission is not Admission.NORMAL

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sends is not None:
            self._sends.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sends is not None:
            self._sends.end()

    def shutdown(self) -> None:
        super().shutdown()
        if self._sends is not None:
            self._sends.shorten()

    def _cut_off(self, waiting_bytes: int) -> None:
        self._limits.meters.stalled_sends.inc()
        answered: Mapping[str, Any] = {} if self._answered is None else {**self._answered.scope}
        _logger.warning(
            "the client does not read its response",
            request_id=find_request_id(answered),
            path=answered.get("path"),
            client=self.client[0] if self.client else None,
            waiting_bytes=waiting_bytes,
        )
        # Without it the kernel would keep what it has of the response, and the client would not see that it is cut.
        with suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        # Not `close`, which would first wait until the client has read what waits.
        self.transport.abort()
