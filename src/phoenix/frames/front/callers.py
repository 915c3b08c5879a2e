"""Who calls, with the keys, the scopes and the limits of the API. A page has a key or a token in a subprotocol.

A browser cannot set a header of a WebSocket. A key or token in the URL would get into the logs of proxies.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from phoenix.access import authentication, keys, rate_limits
from phoenix.access.tokens import TokenPurpose
from phoenix.clock import utc_now
from phoenix.errors import Unauthenticated
from phoenix.frames.front.client_messages import SUBPROTOCOL
from phoenix.settings import Settings

KEY_PREFIX, TOKEN_PREFIX = "bearer.", "token."
_REMEMBERED_S = 1.0
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class Presented:
    """What a client presents. `token` is for one video, and takes the place of a key."""

    headers: Headers
    address: str
    token: str | None = None

    @classmethod
    def from_handshake(cls, scope: AsgiScope) -> "Presented":
        """A key in a header, or else a key or token that is offered as a subprotocol."""
        offered = list(scope.get("subprotocols", ()))
        headers = Headers(scope=scope)
        if "authorization" not in headers and (key := _find(offered, KEY_PREFIX)):
            headers = Headers({"authorization": f"Bearer {key}"})
        return cls(headers, address_of(scope), _find(offered, TOKEN_PREFIX))

    @cached_property
    def scope(self) -> AsgiScope:
        """Where the limits look for the address."""
        return {"client": (self.address, 0)}


def address_of(scope: AsgiScope) -> str:
    return scope["client"][0] if scope.get("client") else "unknown"


def find_forwarded(address: str, forwarded: Iterable[str], trusted: Iterable[str]) -> str:
    """The client of a connection: the last address in `X-Forwarded-For` that is no proxy, if a proxy has connected."""
    networks = [ip_network(each) for each in trusted]
    entries = [entry.strip() for header in forwarded for entry in header.split(",")]
    while entries and _is_in(address, networks):
        address = entries.pop()
    return address


def _is_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    return any(found in network for network in networks)


def _find(offered: Iterable[str], prefix: str) -> str | None:
    return next((each.removeprefix(prefix) for each in offered if each.startswith(prefix)), None)


def choose_subprotocol(scope: AsgiScope) -> str | None:
    """What the server selects of the offered subprotocols. Never a key: it would be in the response."""
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None


class Callers:
    """Authenticates calls. One per process."""

    def __init__(
        self,
        authenticator: authentication.Authenticator,
        tokens: authentication.Tokens,
        usage: authentication.KeyUsageRecorder,
        limits: rate_limits.RequestLimits,
        settings: Settings,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticator = authenticator
        self._tokens = tokens
        self._usage = usage
        self._limits = limits
        self._settings = settings
        self._clock_s = clock_s
        self._remembered: dict[str, tuple[keys.Caller, float]] = {}

    async def authenticate(self, presented: Presented, *scopes: keys.Scope, video_id: str = "") -> keys.Caller:
        """The caller, whose call is counted. Raises `Unauthenticated`, `Forbidden` and `RateLimited`."""
        try:
            caller = await self._read(presented, video_id)
        except Unauthenticated:
            await self._limits.count_failed_auth(presented.scope)
            raise
        for scope in scopes:
            caller.check(scope)
        return caller

    async def authenticate_frame(self, presented: Presented) -> keys.Caller:
        """Like `authenticate` for `write`, but the single frames that a key asks for in a second count once.

        Each count asks Redis, which can take longer than the frame.
        """
        digest = keys.digest_of(presented.headers.get("authorization", ""))
        remembered = self._remembered.get(digest)
        if remembered is not None and self._clock_s() < remembered[1]:
            return remembered[0]
        caller = await self.authenticate(presented, keys.Scope.WRITE)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = (caller, self._clock_s() + _REMEMBERED_S)
        return caller

    async def make_token(self, video_id: str, caller: keys.Caller) -> tuple[str, datetime]:
        """A token with which a page opens sessions of one video, and when it ends."""
        expires_at = utc_now() + timedelta(seconds=self._settings.frames.page_access_s)
        return await self._tokens.sign(TokenPurpose.FRAMES, video_id, caller, expires_at=expires_at)

    async def _read(self, presented: Presented, video_id: str) -> keys.Caller:
        count = partial(self._limits.count, presented.scope)
        if presented.token is None:
            caller = await self._authenticator.authenticate(presented.headers, count)
            self._usage.record(caller)
            return caller
        grant = await self._tokens.read(TokenPurpose.FRAMES, presented.token, video_id)
        if not grant.secret_id:
            return keys.ANYBODY
        caller = keys.Caller(grant.owner_id, frozenset({keys.Scope.READ, keys.Scope.WRITE}), grant.secret_id)
        await count(caller)
        return caller
