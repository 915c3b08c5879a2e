"""Recovers tasks whose leases have expired, ends overdue jobs, and removes workers that no longer report."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.db import Database, UnitOfWork
from phoenix.errors import NewerVersionError, Unavailable
from phoenix.jobs.execution.recovery import end_overdue, list_expired_leases, list_overdue, recover_expired_lease
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.scheduling.usage import delete_old_usage
from phoenix.jobs.scheduling.workers import remove_expired
from phoenix.jobs.submission.idempotency import delete_old_keys
from phoenix.settings import SchedulerSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

Repair = Callable[[UnitOfWork], Awaitable[object]]

# In leases after the last one: an expired worker stays registered for a while, since it may only be cut off.
_FORGET_WORKER_AFTER = 3


class LeaseReaper:
    """The background service `lease_reaper` of one API process."""

    def __init__(self, database: Database, settings: SchedulerSettings) -> None:
        self._database = database
        self._settings = settings
        self._rule = RetryRule.from_settings(settings)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(self._settings.reap_interval_s)

        async with leader_loop(LeaderLease(self._database, "lease_reaper"), self.reap, wait):
            yield

    async def reap(self) -> None:
        """One pass over all leases and jobs. Raises `Unavailable` while the database is away."""
        async with self._database.read() as session:
            expired = await list_expired_leases(session)
            overdue = await list_overdue(session)
        await self._run_repairs(
            partial(recover_expired_lease, job_id=job, task_id=task, rule=self._rule) for job, task in expired
        )
        await self._run_repairs(partial(end_overdue, job_id=job_id) for job_id in overdue)
        # Last: if this cleaning up fails, the leases have been checked all the same.
        await self._run_repairs(
            [
                partial(remove_expired, older_than_s=_FORGET_WORKER_AFTER * self._settings.lease_s),
                delete_old_keys,
                delete_old_usage,
            ]
        )

    async def _run_repairs(self, repairs: Iterable[Repair]) -> None:
        """Runs each in its own transaction: a job that cannot be repaired must not block the others."""
        for repair in repairs:
            try:
                async with self._database.write() as uow:
                    await repair(uow)
            except NewerVersionError:
                _logger.warning("skipped a job that a newer version wrote")
            except Unavailable:
                raise
            except Exception:
                _logger.exception("repair failed")
