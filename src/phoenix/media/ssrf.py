"""Guards against server-side request forgery: allows outbound requests only to public URLs and addresses."""

import asyncio
import functools
import ipaddress
import re
import socket
import ssl
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import httpcore
import httpx

from phoenix.errors import PhoenixError
from phoenix.settings import MediaSettings, WebhookSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_MAX_URL_LENGTH = 2048
_FORBIDDEN_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_PRIVATE_NAMES = re.compile(r"(^|\.)(localhost|local|internal|localdomain|home\.arpa)$")
# Internal or special addresses, some of which `is_global` lets pass: metadata services, IPv4 wrapped in IPv6
# (compatible, NAT64, 6to4, Teredo), shared, site-local, documentation and discard ranges.
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "168.63.129.16/32",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "fec0::/10",
        "100::/64",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
    )
)


class UrlNotAllowed(PhoenixError):
    """The egress policy does not allow the URL."""


class CaFileUnusable(PhoenixError):
    """A CA file is missing, or is not PEM."""


@dataclass(frozen=True)
class EgressPolicy:
    """The allowed destinations. `allow_private` is for servers that fetch from their own network, and for tests."""

    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = (443,)
    allow_private: bool = False
    ca_file: Path | None = None

    @classmethod
    def from_settings(cls, settings: MediaSettings) -> "EgressPolicy":
        return cls(
            ports=settings.fetch_ports,
            allow_private=settings.fetch_allow_private,
            ca_file=settings.fetch_ca_file,
        )

    @classmethod
    def for_webhooks(cls, settings: WebhookSettings) -> "EgressPolicy":
        return cls(
            schemes=("https", "http") if settings.allow_http else ("https",),
            ports=settings.ports,
            allow_private=settings.allow_private,
            ca_file=settings.ca_file,
        )


DEFAULT_POLICY = EgressPolicy()


def check_url(url: str, policy: EgressPolicy = DEFAULT_POLICY) -> httpx.URL:
    """Parses and checks a URL without a DNS query. Raises `UrlNotAllowed`.

    The URL may still be refused later: `VettedNetwork` checks the addresses of its host when it connects.
    """
    if len(url) > _MAX_URL_LENGTH or _FORBIDDEN_IN_URL.search(url):
        raise UrlNotAllowed("the URL is too long, or has spaces, control characters or backslashes in it")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UrlNotAllowed("the URL cannot be parsed") from error
    if parsed.scheme not in policy.schemes or not parsed.host:
        raise UrlNotAllowed(f"only {' and '.join(policy.schemes)} URLs are fetched")
    if parsed.userinfo:
        raise UrlNotAllowed("a URL with a user name or password is not fetched")
    if port_of(parsed) not in policy.ports:
        raise UrlNotAllowed(f"only URLs of port {', '.join(map(str, policy.ports))} are fetched")
    if not policy.allow_private:
        _check_host(parsed.host)
    return parsed


def port_of(url: httpx.URL) -> int:
    """Returns the port of the URL, or the default port of its scheme."""
    return {"http": 80, "https": 443}[url.scheme] if url.port is None else url.port


def is_public(address: str) -> bool:
    """Returns whether a numeric address is on the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    is_special = ip.is_multicast or ip.is_reserved or ip.is_unspecified
    return ip.is_global and not is_special and not any(ip in network for network in _DENIED)


def open_pool(policy: EgressPolicy = DEFAULT_POLICY, *, max_connections: int = 10) -> httpcore.AsyncConnectionPool:
    """Returns a pool that connects to allowed addresses only, and checks TLS. No proxy, no redirect, no cookie."""
    return httpcore.AsyncConnectionPool(
        ssl_context=tls_context(policy), max_connections=max_connections, network_backend=VettedNetwork(policy)
    )


def tls_context(policy: EgressPolicy) -> ssl.SSLContext:
    """Returns a context that trusts the CA file of the policy, or the public authorities. Raises `CaFileUnusable`."""
    if policy.ca_file is None:
        return _public_authorities()
    try:
        return ssl.create_default_context(cafile=policy.ca_file)
    except OSError as error:
        raise CaFileUnusable(f"CA file {policy.ca_file}: {error.strerror or error}") from error


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    # To parse the authorities takes 50 ms and 1 MB, so the pools of a process share them.
    return ssl.create_default_context(cafile=certifi.where())


class VettedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once, refuses it if an address is internal, and connects to the resolved addresses.

    A second DNS query in a library could return another address (DNS rebinding). A refusal is the same error as for a
    host that does not answer: the caller that named the host must not learn where the name leads in this network.
    """

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._network: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()  # pyright: ignore[reportAttributeAccessIssue]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if port not in self._policy.ports:
            raise httpcore.ConnectError("the port is not allowed")
        failure: Exception = httpcore.ConnectError("no address")
        for address in await self._look_up(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._policy.allow_private and not all(is_public(address) for address in addresses):
            _logger.warning("a host was not called because its name leads to a private address", host=host)
            raise httpcore.ConnectError("an address of the name is private")
        return addresses


def _check_host(host: str) -> None:
    """Refuses local names, and internal addresses in any notation that resolvers accept."""
    plain = unicodedata.normalize("NFKC", host).rstrip(".").lower()
    if _PRIVATE_NAMES.search(plain) or ("." not in plain and ":" not in plain and not plain.isdigit()):
        raise UrlNotAllowed("its host is a private address or a local name")
    numeric = _find_numeric(plain)
    if numeric is not None and not is_public(numeric):
        raise UrlNotAllowed("its host is a private address or a local name")


def _find_numeric(host: str) -> str | None:
    """Returns the address for a notation such as `127.1`, `0x7f.1` or `2130706433`; None for a name."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
