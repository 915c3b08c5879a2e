"""Leader election: which replica runs a background service. Costs the database about one write a second per service."""

import os
import secrets
import socket
import time
from collections.abc import Callable

from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.leader_lease import acquire_leader_lease, release_leader_lease

LEASE_S = 3.0
"""Another replica takes over this long after a leader dies; a third of it after a leader releases the lease."""


class LeaderLease:
    """This replica's lease on one background service. Relies on the database's last answer for a third of `lease_s`."""

    def __init__(
        self, database: Database, name: str, *, lease_s: float = LEASE_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._database = database
        self._lease_s = lease_s
        self._clock_s = clock_s
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._is_held = False
        self._renew_at_s = float("-inf")

    async def try_acquire_or_renew(self) -> bool:
        """Acquires the lease if it is free, or renews it. Raises `Unavailable` while the database is away."""
        now_s = self._clock_s()
        if now_s >= self._renew_at_s:
            self._is_held = False
            async with self._database.write() as uow:
                taken = await acquire_leader_lease(uow, self.name, leader_id=self._holder, lease_s=self._lease_s)
            self._is_held = taken
            self._renew_at_s = now_s + self._lease_s / 3
        return self._is_held

    async def release(self) -> None:
        """Releases the lease, so that another replica need not wait until it expires."""
        if self._is_held:
            self._is_held = False
            async with self._database.write() as uow:
                await release_leader_lease(uow, self.name, leader_id=self._holder)
