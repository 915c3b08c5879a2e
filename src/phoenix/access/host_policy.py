"""Decides which requests a server without keys answers: requests of this machine, under a name of this machine.

Any web page can make a browser on this machine send requests here. By a name of its own that resolves to this machine
(DNS rebinding), the page can also read the responses. Where keys are required, a page has no key to send.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self

import httpx
from starlette.datastructures import Headers

from phoenix.errors import Forbidden, MalformedRequest, PhoenixError
from phoenix.settings import Settings

_LOOPBACK = ("localhost", "*.localhost", "127.0.0.0/8", "::1")
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]{1,253})(?::[0-9]{0,5})?", re.IGNORECASE)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site for a page of this origin, and for what the user typed. A page cannot set the header."""


class UnsafeSettings(PhoenixError):
    """The settings would open the server to every web page."""


@dataclass(frozen=True)
class KnownHosts:
    """The names and addresses under which a server may be called."""

    names: frozenset[str]
    suffixes: tuple[str, ...]
    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """From names, `*.` followed by a name for all names below it, addresses, and networks."""
        names, suffixes, networks = set[str](), list[str](), list[IPv4Network | IPv6Network]()
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                if entry.startswith("*."):
                    suffixes.append(entry[1:].lower())
                else:
                    names.add(entry.lower())
        return cls(frozenset(names), tuple(suffixes), tuple(networks))

    def __contains__(self, name: str) -> bool:
        """Whether `name`, the host of a URL without its port, is one of them."""
        try:
            address = ip_address(name.strip("[]"))
        except ValueError:
            plain = name.lower().rstrip(".")
            return plain in self.names or plain.endswith(self.suffixes)
        return any(address in network for network in self.networks)


@dataclass(frozen=True)
class HostPolicy:
    """The hosts and origins of a server; they bind only a server without keys."""

    is_key_required: bool
    hosts: KnownHosts
    origins: frozenset[str]
    """Origins whose pages may change something. The origin under which the server was called may too."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises `UnsafeSettings` if pages of every origin are let in without a key, or with cookies."""
        api = settings.api
        if "*" in api.cors_origins and not (settings.is_auth_required and not api.cors_credentials):
            raise UnsafeSettings(
                "PHOENIX_API__CORS_ORIGINS may be * only with PHOENIX_AUTH=required and with "
                "PHOENIX_API__CORS_CREDENTIALS=false: every web page could use this server. List the origins instead."
            )
        public = httpx.URL(api.public_url or "")
        entries = [*_LOOPBACK, *api.allowed_hosts]
        entries += [name for name in (public.raw_host.decode(), api.host) if name and not _is_unspecified(name)]
        origins = {origin.lower() for origin in api.cors_origins}
        if public.netloc:
            origins.add(f"{public.scheme}://{public.netloc.decode()}")
        return cls(settings.is_auth_required, KnownHosts.parse(entries), frozenset(origins))

    def check(self, method: str, http_version: str, headers: Headers) -> None:
        """Raises `MalformedRequest` without exactly one valid Host, and `Forbidden` for a foreign host or origin."""
        given = headers.getlist("host")
        # HTTP/1.0 has no Host, and probes of load balancers still speak it.
        if self.is_key_required and not given and http_version == "1.0":
            return
        match = _AUTHORITY.fullmatch(given[0]) if len(given) == 1 else None
        if match is None:
            raise MalformedRequest("Send exactly one Host header, with the name or address of this server.")
        if self.is_key_required:
            return
        if match["name"] not in self.hosts:
            raise Forbidden(
                f"This server requires no keys, so it does not answer under the name {match['name']}. Call it as "
                "localhost, add the name to PHOENIX_API__ALLOWED_HOSTS, or set PHOENIX_AUTH=required."
            )
        if method not in _SAFE_METHODS and self._is_foreign(given[0], headers):
            raise Forbidden(
                "This server requires no keys, so pages of other origins may change nothing. Add the origin to "
                "PHOENIX_API__CORS_ORIGINS, or set PHOENIX_AUTH=required."
            )

    def _is_foreign(self, authority: str, headers: Headers) -> bool:
        """Whether a page of another origin made the browser send this. Programs send neither of the two headers."""
        origins = [origin.lower() for origin in headers.getlist("origin")]
        if origins and self.origins.issuperset(origins):
            return False
        # Without the scheme, which a proxy that ends TLS hides.
        own = {f"{scheme}://{authority.lower()}" for scheme in ("http", "https")}
        return not own.issuperset(origins) or not _OWN_SITE.issuperset(headers.getlist("sec-fetch-site"))


def _is_unspecified(name: str) -> bool:
    """Whether this is `0.0.0.0` or `::`, under which nobody should call a server."""
    try:
        return ip_address(name).is_unspecified
    except ValueError:
        return False
