"""Authenticates requests by API key, and signs and checks the tokens of URLs.

A process remembers a key for some seconds, but asks for every request whether any key has changed since it looked the
key up. A revocation therefore takes effect at once.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from starlette.datastructures import Headers

from phoenix.access.keys import (
    ANYBODY,
    LAST_USED_PRECISION,
    Caller,
    ExpiredKey,
    digest_of,
    find_callers,
    find_invalid,
    record_use,
)
from phoenix.access.tokens import Grant, TokenPurpose, get_or_create_secret, read_grant, sign
from phoenix.clock import utc_now
from phoenix.db import Database
from phoenix.errors import KeyExpired, Unauthenticated, Unavailable
from phoenix.events.log_interface import BatchLoader
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_MAX_KEY_LENGTH = 200
"""Characters. No key of Phoenix is as long; a longer text is not looked up."""


REMEMBERED_S = 5.0
"""How long a key is remembered. A revocation takes so long at most if its process cannot reach Redis."""
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class _RememberedCaller:
    caller: Caller
    version: bytes
    """The version of the keys before the key was looked up."""
    expires_s: float


CountRequest = Callable[[Caller], Awaitable[bytes | None]]
"""Counts a request of the caller against its limits. Returns the version of the keys; None while it is not known."""


class Authenticator:
    """One per process. Requests that arrive during a look-up of keys share the next look-up."""

    def __init__(self, database: Database, *, is_required: bool, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._is_required = is_required
        self._clock_s = clock_s
        self._loader = BatchLoader[str, Caller | ExpiredKey](self._read)
        self._version: bytes | None = None
        """The version of the keys as Redis reported it last."""
        self._remembered: dict[str, _RememberedCaller] = {}
        """By the digest of the key: memory keeps no secrets."""

    async def authenticate(self, headers: Headers, count: CountRequest) -> Caller:
        """The caller, whose request is counted once; `ANYBODY` if auth is off.

        Raises `Unauthenticated` or `KeyExpired`, `Unavailable` without a database, and what `count` raises.
        """
        if not self._is_required:
            return ANYBODY
        presented = read_bearer(headers)
        digest = digest_of(presented)
        remembered = self._remembered.get(digest)
        if remembered is None or self._clock_s() >= remembered.expires_s:
            caller = await self._look_up(presented, digest)
            self._version = await count(caller)
            return caller
        self._version = await count(remembered.caller)
        if self._version == remembered.version:
            return remembered.caller
        return await self._look_up(presented, digest)

    async def _look_up(self, presented: str, digest: str) -> Caller:
        version = self._version  # from before the look-up, which may therefore be newer, but not older
        self._remembered.pop(digest, None)
        caller = await self._loader.get(presented)
        if caller is None:
            raise Unauthenticated("The API key is not valid.")
        if isinstance(caller, ExpiredKey):
            raise KeyExpired(
                f"The API key expired at {caller.expires_at:%Y-%m-%d %H:%M} UTC. Ask the operator for one."
            )
        if version is not None:
            self._remember(digest, caller, version)
        return caller

    def _remember(self, digest: str, caller: Caller, version: bytes) -> None:
        while len(self._remembered) >= _MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        expires_s = self._clock_s() + min(REMEMBERED_S, caller.secret_valid_for_s)
        self._remembered[digest] = _RememberedCaller(caller, version, expires_s)

    async def _read(self, presented: Collection[str]) -> Mapping[str, Caller | ExpiredKey]:
        return await find_callers(self._database, presented)


def read_bearer(headers: Headers) -> str:
    """The key after `Bearer`. Raises `Unauthenticated` if there is no key, or more than one such header."""
    given = headers.getlist("authorization")
    if not given:
        raise Unauthenticated
    scheme, _, presented = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or len(presented) > _MAX_KEY_LENGTH:
        raise Unauthenticated
    return presented.strip()


class KeyUsageRecorder:
    """Records when each key was last used. Writes in the background: no request waits for it or fails with it."""

    def __init__(self, database: Database, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock_s = clock_s
        self._recorded_s: dict[str, float] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unrecorded = FailureEpisode(
            _logger, "the use of a key was not recorded", "the use of keys is recorded again"
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["KeyUsageRecorder"]:
        """On exit, uses that are not written yet may be lost; a recorded time is only accurate to a minute anyway."""
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def record(self, caller: Caller) -> None:
        """Records the use of the caller's key, unless an equally recent use is recorded."""
        now_s = self._clock_s()
        recorded_s = self._recorded_s.get(caller.owner_id)
        is_fresh = recorded_s is not None and now_s - recorded_s < LAST_USED_PRECISION.total_seconds()
        if caller is ANYBODY or is_fresh:
            return
        self._recorded_s[caller.owner_id] = now_s
        task = asyncio.create_task(self._write(caller.owner_id), name="record-key-use")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, key_id: str) -> None:
        try:
            async with self._database.write() as uow:
                await record_use(uow, key_id)
        except Exception as error:  # noqa: BLE001 - the failure episode logs it
            self._unrecorded.fail(error, is_unexpected=not isinstance(error, Unavailable), key_id=key_id)
        else:
            self._unrecorded.end()


_Used = tuple[str, str]
"""Id of an owner, and id of the presented secret of its key."""


class Revocations:
    """Looks up which keys and secrets ended. One per process. No key counts as revoked if no key is required."""

    def __init__(self, database: Database, *, is_required: bool) -> None:
        self._database = database
        self._is_required = is_required
        self._loader = BatchLoader[_Used, bool](self._read)

    async def find(self, used: Collection[_Used]) -> Collection[_Used]:
        """The pairs whose key was revoked, or whose secret ended. Raises `Unavailable` while the database is away."""
        if not self._is_required:
            return ()
        async with self._database.read() as session:
            return await find_invalid(session, used)

    async def is_void(self, owner_id: str, secret_id: str) -> bool:
        """Whether the key was revoked or this secret was replaced. Calls during a query share the next query."""
        if not self._is_required:
            return False
        return bool(await self._loader.get((owner_id, secret_id)))

    async def _read(self, used: Collection[_Used]) -> Mapping[_Used, bool]:
        async with self._database.read() as session:
            return dict.fromkeys(await find_invalid(session, used), True)


_SECRET_NAME = "stream-tokens"  # noqa: S105 - a name


class Tokens:
    """Signs and checks the tokens of URLs. One per process.

    The signing secret of this installation is fetched on first use: the database may be away at start-up.
    """

    def __init__(self, database: Database, configured: SecretStr | None, revocations: Revocations) -> None:
        self._database = database
        self._revocations = revocations
        self._secret = configured.get_secret_value().encode() if configured else None

    async def sign(
        self, purpose: TokenPurpose, resource_id: str, caller: Caller, *, expires_at: datetime
    ) -> tuple[str, datetime]:
        """A token for one job or artifact of the caller, and when it ends: with the caller's key at the latest."""
        ends = [each.replace(microsecond=0) for each in (expires_at, caller.expires_at) if each is not None]
        grant = Grant(purpose, resource_id, caller.owner_id, caller.secret_id, min(ends))
        return sign(await self._get_secret(), grant), grant.expires_at

    async def read(self, purpose: TokenPurpose, token: str, resource_id: str) -> Grant:
        """The token's grant. Raises `Unauthenticated`, `Forbidden`, or `Unavailable` while the database is away."""
        grant = read_grant(await self._get_secret(), token, purpose, resource_id=resource_id, now=utc_now())
        if await self._revocations.is_void(grant.owner_id, grant.secret_id):
            raise Unauthenticated(f"The key that the {purpose} token was made with is not valid any more.")
        return grant

    async def _get_secret(self) -> bytes:
        if self._secret is None:
            self._secret = await get_or_create_secret(self._database, _SECRET_NAME)
        return self._secret
