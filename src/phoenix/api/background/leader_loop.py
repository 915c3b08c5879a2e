"""Runs a background service on one replica at a time, the leader, for as long as the application runs.

The lease of a leader costs the database about one write a second per service. The loop of a service survives every
error.
"""

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from phoenix.async_tasks import in_background
from phoenix.db import Database
from phoenix.errors import PhoenixError, StorageFull, Unavailable
from phoenix.jobs.scheduling.leader_lease import acquire_leader_lease, release_leader_lease
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_STOP_TIMEOUT_S = 2.0

LEASE_S = 3.0
"""Another replica takes over this long after a leader dies, or a third of it after a leader releases the lease."""


class LeaderLease:
    """This replica's lease on one background service. A result of the database counts for a third of `lease_s`.

    `frees_space`: whether the service deletes, so that the lease may use the ballast of a full disk.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        lease_s: float = LEASE_S,
        clock_s: Callable[[], float] = time.monotonic,
        frees_space: bool = False,
    ) -> None:
        self.name = name
        self._database = database
        self._frees_space = frees_space
        self._lease_s = lease_s
        self._clock_s = clock_s
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._is_held = False
        self._renew_at_s = float("-inf")

    async def try_acquire_or_renew(self) -> bool:
        """Acquires or renews the lease; returns whether this replica holds it. Raises `Unavailable`."""
        now_s = self._clock_s()
        if now_s >= self._renew_at_s:
            self._is_held = False
            try:
                self._is_held = await self._acquire()
            except StorageFull:
                if not self._frees_space:
                    raise
                # Not at once: most leases fit into the space that SQLite has, and leave the ballast to the deletions.
                self._is_held = await self._acquire(frees_space=True)
            self._renew_at_s = now_s + self._lease_s / 3
        return self._is_held

    async def _acquire(self, *, frees_space: bool = False) -> bool:
        async with self._database.write(frees_space=frees_space) as uow:
            return await acquire_leader_lease(uow, self.name, leader_id=self._holder, lease_s=self._lease_s)

    async def release(self) -> None:
        """Releases the lease, so that another replica need not wait until the lease expires."""
        if self._is_held:
            self._is_held = False
            async with self._database.write() as uow:
                await release_leader_lease(uow, self.name, leader_id=self._holder)


@asynccontextmanager
async def leader_loop(
    lease: LeaderLease, run_once: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    """During the block, calls `run_once` in a task while this replica holds the lease, and `pause` after each call."""
    idle = asyncio.Event()
    try:
        async with in_background(_loop(lease, run_once, pause, idle), name=f"background-{lease.name}"):
            try:
                yield
            finally:
                # A statement that is cancelled loses its connection, and may still run when the event loop closes.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_TIMEOUT_S):
                        await idle.wait()
    finally:
        with suppress(PhoenixError, TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await lease.release()


async def _loop(
    lease: LeaderLease,
    run_once: Callable[[], Awaitable[None]],
    pause: Callable[[], Awaitable[None]],
    idle: asyncio.Event,
) -> None:
    stalls = FailureEpisode(_logger, "background service stalled", "background service recovered")
    while True:
        idle.clear()
        await _try_once(lease, run_once, stalls)
        idle.set()
        if stalls.failures:
            delay_s = min(_FIRST_DELAY_S * 2 ** min(stalls.failures - 1, 10), _LONGEST_DELAY_S)
            await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
        else:
            await pause()


async def _try_once(lease: LeaderLease, run_once: Callable[[], Awaitable[None]], stalls: FailureEpisode) -> None:
    try:
        if await lease.try_acquire_or_renew():
            await run_once()
    except Exception as error:  # noqa: BLE001 - the failure episode logs it
        stalls.fail(error, is_unexpected=not isinstance(error, Unavailable), service=lease.name)
    else:
        stalls.end(service=lease.name)
