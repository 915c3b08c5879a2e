"""The socket that the API serves. `up` opens it, so that clients can connect and wait while the API restarts."""

import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

from phoenix.errors import PhoenixError

BACKLOG = 2048

READY_LINE = "Phoenix is ready: "
"""`up` prints this and the URL once it is ready. Programs that start `up` wait for this line."""


class CannotListen(PhoenixError):
    """The address or port cannot be used."""


@contextmanager
def listening(host: str, port: int) -> Generator[socket.socket]:
    """A listening TCP socket. Port 0 picks a free port. Raises `CannotListen`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"Cannot listen on {host}: {error.strerror}.") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(_explain(host, port, error)) from error
        yield listener


def url_of(listener: socket.socket) -> str:
    """The URL for clients on this machine, which cannot connect to a wildcard address."""
    host, port = listener.getsockname()[:2]
    address = ip_address(host.partition("%")[0])
    if address.is_unspecified:
        address = ip_address("::1" if isinstance(address, IPv6Address) else "127.0.0.1")
    return f"http://[{address}]:{port}" if isinstance(address, IPv6Address) else f"http://{address}:{port}"


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program. Give another with --port, or 0 for a free port."
    return f"Cannot listen on {host} port {port}: {error.strerror}."
