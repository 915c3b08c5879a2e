"""The metrics of the front: sessions, frames, bytes and faults, by protocol."""

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import Counter, Gauge

from phoenix.frames.front.faults import Fault
from phoenix.telemetry.meters import Meters


class FrameTransport(StrEnum):
    """How a client reaches the service."""

    WEBSOCKET = "websocket"
    GRPC = "grpc"
    HTTP = "http"


class FrameMeters(Meters):
    """The metrics of one process `phoenix frames`, with the metrics of the process itself."""

    def __init__(self) -> None:
        super().__init__()
        self._open = Gauge(
            "phoenix_frames_sessions_open", "Sessions of this process.", ("transport",), registry=self.registry
        )
        frames = Counter(
            "phoenix_frames_sent", "Frames that were sent to clients.", ("transport",), registry=self.registry
        )
        sent_bytes = Counter(
            "phoenix_frames_sent_bytes",
            "Bytes of images and of their sound that were sent to clients.",
            ("transport",),
            registry=self.registry,
        )
        self._faults = Counter(
            "phoenix_frames_faults",
            "Requests and sessions that ended with a fault, by its name.",
            ("transport", "fault"),
            registry=self.registry,
        )
        # Looked up once: for a frame, the look-up would cost more than the count.
        self._frames = {each: frames.labels(each) for each in FrameTransport}
        self._bytes = {each: sent_bytes.labels(each) for each in FrameTransport}
        for each in FrameTransport:
            self._open.labels(each)

    @contextmanager
    def open_session(self, transport: FrameTransport) -> Generator[None]:
        """Counts a session during the block."""
        gauge = self._open.labels(transport)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def count_frame(self, transport: FrameTransport, size_bytes: int) -> None:
        self._frames[transport].inc()
        self._bytes[transport].inc(size_bytes)

    def count_fault(self, transport: FrameTransport, fault: Fault) -> None:
        self._faults.labels(transport, fault).inc()
