"""Thousands of readers of streams in one thread: counts events, and notes how late some of them were."""

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

SentAt = Callable[[bytes], float | None]
"""When the event in these bytes was sent, in seconds since the epoch."""

_STEP = re.compile(rb'"step":([0-9]+)')


class Readers:
    """Open connections to one server, each asking for one path.

    `greeting` is in the first bytes of a stream that is open, `marker` once in every event.
    """

    def __init__(self, port: int, *, greeting: bytes, marker: bytes, sent_at: SentAt) -> None:
        self.events_by_stream: Counter[int] = Counter()
        self.newest_by_stream: dict[int, int] = {}
        """The step of the last event, of the streams that had any."""
        self.greeted = 0
        self.latencies_s: list[float] = []
        self.sockets: list[socket.socket] = []
        self._port = port
        self._greeting = greeting
        self._marker = marker
        self._sent_at = sent_at
        self._selector = selectors.EpollSelector()

    @property
    def events(self) -> int:
        return self.events_by_stream.total()

    def forget_events(self) -> None:
        self.events_by_stream.clear()
        self.newest_by_stream.clear()

    def open(self, paths: Sequence[str], longest_s: float = 300) -> None:
        """Returns when the server has greeted all of them."""
        for path in paths:
            client = socket.create_connection(("127.0.0.1", self._port))
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            client.sendall(request.encode())
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ)
            self.sockets.append(client)
            self.pump(0)
        end_s = time.monotonic() + longest_s
        while self.greeted < len(paths):
            if time.monotonic() > end_s:
                raise RuntimeError(f"{self.greeted} of {len(paths)} streams are open")
            self.pump(0.1)

    def pump(self, timeout_s: float) -> None:
        """Reads whatever has come."""
        for key, _ in self._selector.select(timeout_s):
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(262_144)
            if not data:
                raise RuntimeError("the server closed a stream")
            self.greeted += data.count(self._greeting)
            if events := data.count(self._marker):
                self.events_by_stream[key.fd] += events
                if steps := _STEP.findall(data):
                    self.newest_by_stream[key.fd] = int(steps[-1])
                if (sent_s := self._sent_at(data)) is not None:
                    self.latencies_s.append(time.time() - sent_s)

    def pump_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.pump(left_s)

    def pump_until_quiet(self, quiet_s: float = 1.0, longest_s: float = 60) -> None:
        """Until no event has come for a while."""
        end_s, last, last_s = time.monotonic() + longest_s, -1, time.monotonic()
        while time.monotonic() < end_s and time.monotonic() - last_s < quiet_s:
            self.pump(0.05)
            if self.events != last:
                last, last_s = self.events, time.monotonic()

    def close(self) -> None:
        for client in self.sockets:
            client.close()
        self._selector.close()
