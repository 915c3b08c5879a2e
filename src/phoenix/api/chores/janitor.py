"""Deletes jobs and uploads past their retention time, and files without rows; a little at a time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from phoenix.api.chores.duty import Duty
from phoenix.api.chores.orphans import delete_orphans
from phoenix.api.chores.repeat import repeated
from phoenix.assembly import Services
from phoenix.errors import PhoenixError, Unavailable
from phoenix.jobs.retain import delete_ended, delete_old_uploads, list_old_jobs, list_surplus_jobs
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

Search = Callable[[AsyncSession], Awaitable[Sequence[tuple[str, str]]]]

_BREATH_S = 0.2
"""Pause between two steps of a round."""
_LOOK_S = 5.0
"""Time between two checks whether a round is due, on the replica that has the duty."""
DAY_S = 24 * 3600.0


class Janitor:
    """The duty `retain` of one API process. A round takes many short steps, so that the duty is renewed in between."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings.retention
        self._round: AsyncGenerator[None] | None = None
        self._next_round_s = time.monotonic() + self._settings.interval_s

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(_BREATH_S if self._round else _LOOK_S)

        async with repeated(Duty(self._services.database, "retain"), self.step, wait):
            yield
        if self._round is not None:
            await self._round.aclose()

    async def step(self) -> None:
        """One step of a round, if one is under way or due. Raises `Unavailable` while the database is away."""
        if self._round is None:
            if time.monotonic() < self._next_round_s:
                return
            self._next_round_s = time.monotonic() + self._settings.interval_s
            self._round = self.round()
        try:
            await anext(self._round)
        except BaseException as error:
            # A generator that raised is finished; the next round starts from the beginning.
            self._round = None
            if not isinstance(error, StopAsyncIteration):
                raise

    async def round(self) -> AsyncGenerator[None]:
        """Everything once, a step per iteration."""
        for find in self._searches():
            while await self._delete_found(find):
                yield
        while await self._delete_uploads():
            yield
        yield
        try:
            async with aclosing(delete_orphans(self._services, older_than_s=self._settings.orphans_after_s)) as pages:
                async for _ in pages:
                    yield
        except Unavailable:
            raise
        except PhoenixError as error:
            _logger.warning("the store could not be gone through", error=error.detail)

    def _searches(self) -> list[Search]:
        searches: list[Search] = []
        if self._settings.jobs_days:
            searches.append(partial(list_old_jobs, older_than_s=self._settings.jobs_days * DAY_S))
        if self._settings.jobs_per_key:
            searches.append(partial(list_surplus_jobs, most_per_owner=self._settings.jobs_per_key))
        return searches

    async def _delete_found(self, find: Search) -> int:
        async with self._services.database.read() as session:
            found = await find(session)
        deleted = 0
        for job_id, owner_id in found:
            async with self._services.database.write() as uow:
                deleted += await delete_ended(uow, job_id, owner_id)
        # Not how many were found: those that are still used would be found again at once, for ever.
        return deleted

    async def _delete_uploads(self) -> int:
        if not self._settings.uploads_days:
            return 0
        async with self._services.database.write() as uow:
            return await delete_old_uploads(uow, older_than_s=self._settings.uploads_days * DAY_S)
