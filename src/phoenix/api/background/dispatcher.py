"""Rings doorbells for the tasks that are next, and again where Redis lost them. The order is `jobs.order`'s part."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from phoenix.api.background.leader import Duty
from phoenix.api.background.loop import repeated
from phoenix.assembly import Services
from phoenix.jobs.scheduling.dispatch import RungTask, choose_next, list_rung, mark_rung, unring
from phoenix.jobs.scheduling.fair_queue import Lineup, Waiting
from phoenix.jobs.scheduling.workers import QUEUES, RENDERING
from phoenix.queues.queue import Doorbell
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class Feeder:
    """The duty `feed` of one API process."""

    def __init__(self, services: Services, *, worker_timeout_s: float) -> None:
        self._services = services
        self._settings = services.settings.scheduler
        self._worker_timeout_s = worker_timeout_s
        self._check_at_s = time.monotonic() + self._settings.doorbell_check_s

    @asynccontextmanager
    async def running(self, rung: asyncio.Event) -> AsyncGenerator[None]:
        """Feeds whenever any process rings the feeders' bell, and at least once per interval."""

        async def wait() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.feed_interval_s):
                    await rung.wait()
            # Cleared before the next pass, so that a ring during that pass is not lost.
            rung.clear()

        async with repeated(Duty(self._services.database, "feed"), self.feed, wait):
            yield

    async def feed(self) -> None:
        """One pass over every queue. Raises `Unavailable` while the database or Redis is away."""
        await self._repair()
        for queue in QUEUES:
            await self._feed_queue(queue)

    async def _feed_queue(self, queue: str) -> None:
        async with self._services.database.read() as session:
            lineup = await choose_next(
                session,
                queue,
                feed_ahead=self._settings.feed_ahead,
                worker_timeout_s=self._worker_timeout_s,
                most_per_owner=self._services.settings.limits.running_clips_per_key if queue in RENDERING else 0,
            )
        if lineup.ring:
            await self._line_up(queue, lineup)

    async def _line_up(self, queue: str, lineup: Lineup) -> None:
        await self._services.queue.withdraw(queue, _doorbells(lineup.withdraw))
        # Rung first, recorded after: a crash in between means a second ring, which is harmless, rather than none.
        await self._services.queue.ring(queue, _doorbells(lineup.ring))
        async with self._services.database.write() as uow:
            await mark_rung(uow, lineup.ring)
        # A transaction of its own: each takes its row locks in order of id, but both together would not.
        if lineup.put_back:
            async with self._services.database.write() as uow:
                await unring(uow, lineup.put_back)

    async def _repair(self) -> None:
        """Puts tasks whose doorbells are no longer in Redis back in line."""
        if await self._services.queue.was_wiped():
            for queue in QUEUES:
                await self._unring(queue, await self._list_rung(queue, older_than_s=0))
        elif time.monotonic() >= self._check_at_s:
            for queue in QUEUES:
                await self._unring(queue, await self._find_lost(queue))
        else:
            return
        self._check_at_s = time.monotonic() + self._settings.doorbell_check_s

    async def _find_lost(self, queue: str) -> Sequence[RungTask]:
        rung = await self._list_rung(queue, older_than_s=self._settings.doorbell_check_s)
        by_doorbell = {Doorbell(task.task_id, task.dispatch): task for task in rung}
        if not by_doorbell:
            return []
        missing = await self._services.queue.find_missing(queue, list(by_doorbell))
        return [by_doorbell[doorbell] for doorbell in missing]

    async def _list_rung(self, queue: str, *, older_than_s: float) -> Sequence[RungTask]:
        async with self._services.database.read() as session:
            return await list_rung(session, queue, older_than_s=older_than_s)

    async def _unring(self, queue: str, lost: Sequence[RungTask]) -> None:
        if lost:
            _logger.warning("doorbells were lost; ringing them anew", queue=queue, count=len(lost))
            async with self._services.database.write() as uow:
                await unring(uow, lost)


def _doorbells(tasks: Sequence[Waiting]) -> list[Doorbell]:
    return [Doorbell(task.task_id, task.dispatch) for task in tasks]
