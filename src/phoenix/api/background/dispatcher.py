"""Enqueues dispatch messages for the next tasks, and sends lost messages again.

`jobs.scheduling.dispatch` decides which tasks are next.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.db import Database
from phoenix.jobs.scheduling.dispatch import DispatchedTask, list_dispatched, mark_dispatched, plan_dispatch, undispatch
from phoenix.jobs.scheduling.fair_queue import DispatchPlan, ReadyTask
from phoenix.jobs.scheduling.workers import QUEUES, RENDER_QUEUES
from phoenix.queues.queue import DispatchMessage, TaskQueue
from phoenix.settings import Settings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class Dispatcher:
    """The background service `dispatcher` of one API process."""

    def __init__(self, database: Database, queue: TaskQueue, settings: Settings) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings.scheduler
        self._clips_per_key = settings.limits.running_clips_per_key
        self._check_at_s = time.monotonic() + self._settings.dispatch_check_s

    @asynccontextmanager
    async def running(self, wake_event: asyncio.Event) -> AsyncGenerator[None]:
        """Runs a pass on each notification from any process, and at least once per interval."""

        async def wait() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.dispatch_interval_s):
                    await wake_event.wait()
            # Cleared before the next pass, so that a notification during that pass is not lost.
            wake_event.clear()

        async with leader_loop(LeaderLease(self._database, "dispatcher"), self.dispatch, wait):
            yield

    async def dispatch(self) -> None:
        """One pass over every queue. Raises `Unavailable` while the database or Redis is away."""
        await self._redispatch_lost()
        plans = [await self._dispatch_queue(queue) for queue in QUEUES]
        await self._record(plans)

    async def _dispatch_queue(self, queue: str) -> DispatchPlan:
        async with self._database.read() as session:
            plan = await plan_dispatch(
                session,
                queue,
                prefetch_multiplier=self._settings.prefetch_multiplier,
                max_per_owner=self._clips_per_key if queue in RENDER_QUEUES else 0,
            )
        if plan.revoke:
            await self._queue.revoke(queue, _messages(plan.revoke))
        if plan.enqueue:
            await self._queue.enqueue(queue, _messages(plan.enqueue))
        return plan

    async def _record(self, plans: Sequence[DispatchPlan]) -> None:
        """Records what was sent, after all of it: a crash in between causes second messages, and these are harmless.

        A worker claims its task as soon as the message arrives. On SQLite, where writes wait for each other, a record
        before the messages of the other queues would delay the first clip.
        """
        if enqueued := [task for plan in plans for task in plan.enqueue]:
            async with self._database.write() as uow:
                await mark_dispatched(uow, enqueued)
        # A transaction of its own: each one takes its row locks in order of id, but both together would not.
        if undispatched := [task for plan in plans for task in plan.undispatch]:
            async with self._database.write() as uow:
                await undispatch(uow, undispatched)

    async def _redispatch_lost(self) -> None:
        """Makes tasks ready to dispatch again if their dispatch messages are no longer in Redis."""
        if await self._queue.was_wiped():
            for queue in QUEUES:
                await self._undispatch(queue, await self._list_dispatched(queue, older_than_s=0))
        elif time.monotonic() >= self._check_at_s:
            for queue in QUEUES:
                await self._undispatch(queue, await self._find_lost(queue))
        else:
            return
        self._check_at_s = time.monotonic() + self._settings.dispatch_check_s

    async def _find_lost(self, queue: str) -> Sequence[DispatchedTask]:
        dispatched = await self._list_dispatched(queue, older_than_s=self._settings.dispatch_check_s)
        by_message = {DispatchMessage(task.task_id, task.dispatch_seq): task for task in dispatched}
        if not by_message:
            return []
        missing = await self._queue.find_missing(queue, list(by_message))
        return [by_message[message] for message in missing]

    async def _list_dispatched(self, queue: str, *, older_than_s: float) -> Sequence[DispatchedTask]:
        async with self._database.read() as session:
            return await list_dispatched(session, queue, older_than_s=older_than_s)

    async def _undispatch(self, queue: str, lost: Sequence[DispatchedTask]) -> None:
        if lost:
            _logger.warning("dispatch messages were lost; sending them again", queue=queue, count=len(lost))
            async with self._database.write() as uow:
                await undispatch(uow, lost)


def _messages(tasks: Sequence[ReadyTask]) -> list[DispatchMessage]:
    return [DispatchMessage(task.task_id, task.dispatch_seq) for task in tasks]
