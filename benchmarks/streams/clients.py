"""Thousands of readers of streams in one thread: counts events, and notes how late some of them were."""

import re
import selectors
import socket
import time
from collections.abc import Callable, Sequence

_SENT_AT = re.compile(rb'"worker_id": ?"(\d+)"|"image": ?"(\d+)"')


class Readers:
    """Open connections to one server, each asking for one path."""

    def __init__(self, address: tuple[str, int], marker: bytes) -> None:
        self.events = 0
        self.latencies_s: list[float] = []
        self._address = address
        self._marker = marker
        self._selector = selectors.EpollSelector()
        self.sockets: list[socket.socket] = []

    def open(self, paths: Sequence[str]) -> None:
        for path in paths:
            client = socket.create_connection(self._address)
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            client.sendall(request.encode())
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ)
            self.sockets.append(client)
            self.pump(0)

    def pump(self, timeout_s: float, stamp: Callable[[bytes], float | None] | None = None) -> None:
        """Reads whatever has come."""
        for key, _ in self._selector.select(timeout_s):
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(262_144)
            if not data:
                self._selector.unregister(key.fileobj)
                continue
            self.events += data.count(self._marker)
            if stamp and (sent_s := stamp(data)):
                self.latencies_s.append(time.time() - sent_s)

    def settle(self, quiet_s: float = 1.0, longest_s: float = 60) -> None:
        """Until nothing has come for a while."""
        end_s, last, last_s = time.monotonic() + longest_s, -1, time.monotonic()
        while time.monotonic() < end_s and time.monotonic() - last_s < quiet_s:
            self.pump(0.05)
            if self.events != last:
                last, last_s = self.events, time.monotonic()

    def close(self) -> None:
        for client in self.sockets:
            client.close()
        self._selector.close()
