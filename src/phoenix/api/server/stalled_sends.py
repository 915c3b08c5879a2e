"""The limit on clients that do not take what is sent to them. It holds for every kind of response body."""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

from phoenix.api.http.minimum_rate import is_stalled

UNSENT_BYTES = 131_072
"""What the kernel takes of a response before the client has room for it."""
_SHUTDOWN_TIMEOUT_S = 1.0


class SendMonitor:
    """Watches one connection while output waits for its client.

    Calls `on_stall` when the client has taken less than `MIN_BYTES_PER_S` for `timeout_s`. What the client takes is
    measured in its acknowledgements.
    """

    __slots__ = ("_loop", "_on_stall", "_socket", "_timeout_s", "_timer", "_transport", "_untaken_bytes")

    def __init__(self, transport: asyncio.Transport, *, timeout_s: float, on_stall: Callable[[int], None]) -> None:
        """`on_stall` gets the number of bytes that wait. It should abort the connection."""
        self._transport = transport
        self._timeout_s = timeout_s
        self._on_stall = on_stall
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._untaken_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        # Every wait for the client then begins with `pause_writing` and ends with `resume_writing`.
        transport.set_write_buffer_limits(high=0)
        self._limit_unsent()

    def begin(self) -> None:
        """Output has begun to wait."""
        self._untaken_bytes = self._count_untaken()
        self._timer = self._loop.call_later(self._timeout_s, self._check)

    def end(self) -> None:
        """Nothing waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shorten(self) -> None:
        """Shortens the limit to at most a second, for a process that is shutting down."""
        self._timeout_s = min(self._timeout_s, _SHUTDOWN_TIMEOUT_S)
        if self._timer is not None:
            self.end()
            self.begin()

    def _check(self) -> None:
        taken_bytes = self._untaken_bytes - self._count_untaken()
        if is_stalled(taken_bytes, self._timeout_s):
            self._timer = None
            self._on_stall(self._transport.get_write_buffer_size())
        else:
            self.begin()

    def _count_untaken(self) -> int:
        return self._transport.get_write_buffer_size() + count_in_kernel(self._socket)

    def _limit_unsent(self) -> None:
        """Bounds the kernel's buffer, which otherwise grows to megabytes for a client that reads nothing."""
        if self._socket is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):  # no TCP
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def count_in_kernel(connected: socket.socket | None) -> int:
    """Bytes that the kernel has and the client has not acknowledged; 0 on systems that do not say.

    The bytes in the transport alone would not do. The kernel takes more of them only when half of its own buffer is
    empty, and a slow client needs longer than the limit for that.
    """
    if connected is None:
        return 0
    try:
        (in_kernel,) = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # an unknown call, or a socket that is closed
        return 0
    return in_kernel
