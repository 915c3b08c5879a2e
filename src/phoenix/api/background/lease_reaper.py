"""Takes tasks back from workers that stopped renewing, ends overdue jobs, and forgets silent workers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

from phoenix.api.background.leader import Duty
from phoenix.api.background.loop import repeated
from phoenix.assembly import Services
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import Unavailable, WrittenByNewer
from phoenix.jobs.execution.recovery import end_overdue, list_lapsed, list_overdue, recover_lapsed
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.scheduling.usage import forget_spent
from phoenix.jobs.scheduling.workers import remove_silent
from phoenix.jobs.submission.idempotency import forget_old
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

Repair = Callable[[UnitOfWork], Awaitable[object]]

# In worker time-outs: a worker that counts as gone stays registered for a while, as it may only be cut off.
_FORGET_AFTER = 4


class Sweeper:
    """The duty `sweep` of one API process."""

    def __init__(self, services: Services, *, worker_timeout_s: float) -> None:
        self._database = services.database
        self._settings = services.settings.scheduler
        self._worker_timeout_s = worker_timeout_s
        self._rule = RetryRule(
            max_failures=self._settings.max_failures,
            max_crashes=self._settings.max_crashes,
            first_delay_s=self._settings.retry_delay_s,
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(self._settings.sweep_interval_s)

        async with repeated(Duty(self._database, "sweep"), self.sweep, wait):
            yield

    async def sweep(self) -> None:
        """One pass over everything. Raises `Unavailable` while the database is away."""
        async with self._database.read() as session:
            lapsed = await list_lapsed(session)
            overdue = await list_overdue(session)
        await self._mend(partial(recover_lapsed, job_id=job, task_id=task, rule=self._rule) for job, task in lapsed)
        await self._mend(partial(end_overdue, job_id=job_id) for job_id in overdue)
        # Last, and on its own: if tidying fails, leases must still be looked at.
        await self._mend(
            [partial(remove_silent, older_than_s=_FORGET_AFTER * self._worker_timeout_s), forget_old, forget_spent]
        )

    async def _mend(self, repairs: Iterable[Repair]) -> None:
        """Each in its own transaction: one job that cannot be repaired must not block the others."""
        for repair in repairs:
            try:
                async with self._database.write() as uow:
                    await repair(uow)
            except WrittenByNewer:
                _logger.warning("left to a replica of a newer version")
            except Unavailable:
                raise
            except Exception:
                _logger.exception("could not be mended")
