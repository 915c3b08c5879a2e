"""Clients that never read: downloads, streams, and connections whose request head never ends."""

import http.client
import re
import socket
import time
from contextlib import ExitStack
from typing import Self

_PER_ADDRESS = 100
_WITHIN_S = 120
_RECEIVE_BUFFER_BYTES = 4096
"""Small, so that as much as possible waits on the side of the replica."""


class DeafClients:
    """Open connections to one server. They are closed when the block ends."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stack = ExitStack()
        self._readers: list[socket.socket] = []
        self._halves: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, path: str, count: int) -> None:
        """Opens connections that ask for `path` and read nothing of the answer."""
        for number in range(count):
            client = self._connect(f"127.0.1.{1 + number // _PER_ADDRESS}")
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode())
            self._readers.append(client)

    def open_halves(self, count: int) -> None:
        """Opens connections whose head never ends."""
        for _ in range(count):
            client = self._connect("127.0.2.1")
            client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            self._halves.append(client)

    def hold(self, seconds: float) -> None:
        """Waits, and opens each half-open connection again that the server has closed."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            closed = [client for client in self._halves if _is_closed(client)]
            self._halves = [client for client in self._halves if client not in closed]
            for client in closed:
                client.close()
            self.open_halves(len(closed))
            time.sleep(0.5)  # the server gives a half-open head ten seconds

    def count_open(self) -> int:
        """How many downloads and streams the server has not cut off."""
        return sum(not _is_reset(client) for client in self._readers)

    def _connect(self, source: str) -> socket.socket:
        client = socket.socket()
        self._stack.callback(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        client.bind((source, 0))
        client.settimeout(30)
        client.connect(("127.0.0.1", self._port))
        return client


def wait_for_metric(port: int, name: str, value: float) -> None:
    """Returns when the gauge of the server has reached the value."""
    end_s = time.monotonic() + _WITHIN_S
    while time.monotonic() < end_s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WITHIN_S)
        connection.request("GET", "/metrics")
        found = re.search(rf"^{name} (\S+)$", connection.getresponse().read().decode(), re.MULTILINE)
        connection.close()
        if found and float(found[1]) >= value:
            return
        time.sleep(0.2)  # a scrape is work for the server that is measured
    raise RuntimeError(f"{name} did not reach {value}")


def _is_closed(client: socket.socket) -> bool:
    """Whether the server has answered the half-open head, which it does when its time is over."""
    client.setblocking(False)
    try:
        client.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_reset(client: socket.socket) -> bool:
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
