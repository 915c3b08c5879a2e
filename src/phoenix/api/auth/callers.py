"""Authenticates requests. Keys are looked up for every request, so that revoking one takes effect at once."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import Headers

from phoenix.access.keys import (
    ANYBODY,
    LAST_USED_PRECISION,
    Caller,
    find_callers,
    find_invalid,
    find_revoked,
    record_use,
)
from phoenix.assembly import Services
from phoenix.db.unit_of_work import Database
from phoenix.errors import Unauthenticated
from phoenix.events.log import BatchLoader
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_MAX_KEY_LENGTH = 200
"""Characters; more than any of our keys has. Longer ones are not looked up."""


class Authenticator:
    """One per process. Requests that arrive during a look-up of keys share the next one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loader = BatchLoader[str, Caller](self._read)

    async def authenticate(self, headers: Headers) -> Caller:
        """The caller; `ANYBODY` if auth is off. Raises `Unauthenticated`, or `Unavailable` without a database."""
        if not self._services.settings.is_auth_required:
            return ANYBODY
        caller = await self._loader.get(read_bearer(headers))
        if caller is None:
            raise Unauthenticated("The API key is not valid.")
        return caller

    async def _read(self, presented: Collection[str]) -> Mapping[str, Caller]:
        async with self._services.database.read() as session:
            return await find_callers(session, presented)


def read_bearer(headers: Headers) -> str:
    """The key after `Bearer`. Raises `Unauthenticated` if there is none, or more than one such header."""
    given = headers.getlist("authorization")
    if not given:
        raise Unauthenticated
    scheme, _, presented = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or len(presented) > _MAX_KEY_LENGTH:
        raise Unauthenticated
    return presented.strip()


class KeyUsageRecorder:
    """Records when each key was last used, in the background: no request waits for that, or fails with it."""

    def __init__(self, database: Database, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock_s = clock_s
        self._recorded_s: dict[str, float] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["KeyUsageRecorder"]:
        """On exit, uses that are not written yet may be lost: they are only accurate to a minute anyway."""
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def record(self, caller: Caller) -> None:
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
        except Exception:
            _logger.exception("the use of a key was not recorded", key_id=key_id)


_Used = tuple[str, str]
"""An owner, and the secret of its key that was presented."""


class Revocations:
    """One per process. Where no key is required, none counts as revoked."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loader = BatchLoader[_Used, bool](self._read)

    async def find(self, owner_ids: Collection[str]) -> Collection[str]:
        """The owners among these whose key was revoked. Raises `Unavailable` while the database is away."""
        if not self._services.settings.is_auth_required:
            return ()
        async with self._services.database.read() as session:
            return await find_revoked(session, owner_ids)

    async def is_void(self, owner_id: str, secret_id: str) -> bool:
        """Whether the key was revoked or this secret of it replaced; calls during a query share the next one."""
        if not self._services.settings.is_auth_required:
            return False
        return bool(await self._loader.get((owner_id, secret_id)))

    async def _read(self, used: Collection[_Used]) -> Mapping[_Used, bool]:
        async with self._services.database.read() as session:
            return dict.fromkeys(await find_invalid(session, used), True)
