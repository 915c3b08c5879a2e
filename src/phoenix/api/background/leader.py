"""Leader election: which replica does a chore. Costs the database about one small write a second per chore."""

import os
import secrets
import socket
import time
from collections.abc import Callable

from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.leader_lease import drop_duty, take_duty

HOLD_S = 3.0
"""A replica that dies on duty is succeeded after this time; one that gives the duty back, within a third of it."""


class Duty:
    """This replica's claim on one chore. The database's last answer is relied on for a third of `hold_s`."""

    def __init__(
        self, database: Database, name: str, *, hold_s: float = HOLD_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._database = database
        self._hold_s = hold_s
        self._clock_s = clock_s
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._is_ours = False
        self._ask_again_s = float("-inf")

    async def is_ours(self) -> bool:
        """Takes or renews the duty if it is free. Raises `Unavailable` while the database is away."""
        now_s = self._clock_s()
        if now_s >= self._ask_again_s:
            self._is_ours = False
            async with self._database.write() as uow:
                taken = await take_duty(uow, self.name, holder=self._holder, hold_s=self._hold_s)
            self._is_ours = taken
            self._ask_again_s = now_s + self._hold_s / 3
        return self._is_ours

    async def drop(self) -> None:
        """Gives the duty back, so that another replica need not wait for it to lapse."""
        if self._is_ours:
            self._is_ours = False
            async with self._database.write() as uow:
                await drop_duty(uow, self.name, holder=self._holder)
