"""Deletes jobs and uploads past their retention time, rows that are no longer needed, and files without rows.

Each step deletes a few. A search continues after the jobs it has passed, so that jobs which stay do not hide others.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from phoenix.access.audit import delete_old_acts
from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.db import Database, UnitOfWork, db_now
from phoenix.errors import PhoenixError, Unavailable
from phoenix.jobs.history.rollup import delete_old_stats
from phoenix.jobs.retention import (
    EndedJob,
    delete_ended,
    delete_unused,
    find_known_keys,
    list_old_jobs,
    list_old_uploads,
    list_surplus_jobs,
)
from phoenix.jobs.scheduling.durations import delete_old_durations
from phoenix.jobs.webhooks.outbox import delete_old_refusals
from phoenix.settings import RetentionSettings
from phoenix.storage.errors import StoreFailed
from phoenix.storage.keys import is_key
from phoenix.storage.store import ArtifactStore, ListedObject
from phoenix.storyboards.repository import delete_old_storyboards, delete_surplus_storyboards
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_PREFIXES = ("jobs", "uploads")
_MAX_STAGED = 1000
"""Incomplete uploads per round: each takes a request of its own, and a round must not take hours."""


async def delete_orphans(database: Database, store: ArtifactStore, *, older_than_s: float) -> AsyncGenerator[int]:
    """Deletes files that have no row, and yields after each page of the store how many files were deleted.

    A file is stored before its row, so a young file may still get one: `older_than_s` must be longer than the last step
    of any attempt. Files whose names Phoenix does not give are not touched.
    """
    before = await _read_time(database, older_than_s)
    async for count in _remove_staged(store, before):
        yield count
    for prefix in _PREFIXES:
        async for page in store.pages(prefix):
            orphans = await _find_orphans(database, page, before)
            for key in orphans:
                await store.delete(key)
            if orphans:
                _logger.info("files without rows were deleted", count=len(orphans), first=orphans[0])
            yield len(orphans)


async def _read_time(database: Database, ago_s: float) -> datetime:
    """The time `ago_s` seconds ago by the database's clock: with a fast clock, a new file would look old."""
    async with database.read() as session:
        return (await session.execute(select(db_now(-ago_s)))).scalar_one()


async def _remove_staged(store: ArtifactStore, before: datetime) -> AsyncGenerator[int]:
    """Deletes incomplete uploads, at most `_MAX_STAGED`. If the store refuses, the round continues without it."""
    total = 0
    try:
        for prefix in _PREFIXES:
            async for count in store.remove_staged(prefix, before):
                yield count
                total += count
                if count:
                    _logger.info("incomplete uploads were deleted", count=count, prefix=prefix)
                if total >= _MAX_STAGED:
                    return
    except StoreFailed as error:
        _logger.warning("incomplete uploads could not be listed", error=error.detail)


async def _find_orphans(database: Database, page: Sequence[ListedObject], before: datetime) -> list[str]:
    old = [listed.key for listed in page if listed.modified_at < before and is_key(listed.key)]
    if not old:
        return []
    async with database.read() as session:
        known = await find_known_keys(session, old)
    return [key for key in old if key not in known]


class FindJobs(Protocol):
    """Finds a batch of jobs to delete; `after` is the last job of the batch before."""

    async def __call__(self, session: AsyncSession, *, after: EndedJob | None) -> Sequence[EndedJob]: ...


Result = TypeVar("Result")

_STEP_PAUSE_S = 0.2
"""Pause between two steps of a round."""
_CHECK_INTERVAL_S = 5.0
"""Time between two checks whether a round is due, on the leader."""
DAY_S = 24 * 3600.0


class RetentionService:
    """The background service `retention` of one API process. Renews its lease between the short steps of a round."""

    def __init__(self, database: Database, store: ArtifactStore, settings: RetentionSettings) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._round: AsyncGenerator[None] | None = None
        self._next_round_s = time.monotonic() + self._settings.interval_s

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(_STEP_PAUSE_S if self._round else _CHECK_INTERVAL_S)
            if self._database.ballast is not None:
                await asyncio.to_thread(self._database.ballast.refill)

        # Without the ballast, a disk with 0 bytes free would have no leader that makes room on it.
        lease = LeaderLease(self._database, "retention", frees_space=True)
        async with leader_loop(lease, self.step, wait):
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
        """One round over everything; each iteration is one step."""
        parts = [
            *(self._delete_jobs(find) for find in self._searches()),
            self._delete_storyboards(),
            self._delete_uploads(),
            self._delete_stale_rows(),
            self._delete_acts(),
            self._delete_orphans(),
        ]
        for part in parts:
            async with aclosing(part) as steps:
                async for _ in steps:
                    yield

    def _searches(self) -> list[FindJobs]:
        searches: list[FindJobs] = []
        if self._settings.jobs_days:
            searches.append(partial(list_old_jobs, older_than_s=self._settings.jobs_days * DAY_S))
        if self._settings.jobs_per_key:
            searches.append(partial(list_surplus_jobs, max_per_owner=self._settings.jobs_per_key))
        return searches

    async def _delete_jobs(self, find: FindJobs) -> AsyncGenerator[None]:
        last: EndedJob | None = None
        while found := await self._read(partial(find, after=last)):
            for job in found:
                async with self._database.write(frees_space=True) as uow:
                    await delete_ended(uow, job.id, job.owner_id)
            last = found[-1]
            yield

    async def _delete_storyboards(self) -> AsyncGenerator[None]:
        """By the same rules as jobs."""
        deletions: list[Callable[[UnitOfWork], Awaitable[int]]] = []
        if self._settings.jobs_days:
            deletions.append(partial(delete_old_storyboards, older_than_s=self._settings.jobs_days * DAY_S))
        if self._settings.jobs_per_key:
            deletions.append(partial(delete_surplus_storyboards, max_per_owner=self._settings.jobs_per_key))
        for delete in deletions:
            count = 1
            while count:
                async with self._database.write(frees_space=True) as uow:
                    count = await delete(uow)
                yield

    async def _delete_uploads(self) -> AsyncGenerator[None]:
        if not self._settings.uploads_days:
            return
        older_than_s, last_id = self._settings.uploads_days * DAY_S, ""
        while found := await self._read(partial(list_old_uploads, older_than_s=older_than_s, after_id=last_id)):
            async with self._database.write(frees_space=True) as uow:
                await delete_unused(uow, found)
            last_id = found[-1]
            yield

    async def _delete_stale_rows(self) -> AsyncGenerator[None]:
        delete_stats = partial(delete_old_stats, kept_s=self._settings.stats_days * DAY_S)
        for delete in (delete_old_durations, delete_old_refusals, delete_stats):
            async with self._database.write(frees_space=True) as uow:
                await delete(uow)
            yield

    async def _delete_acts(self) -> AsyncGenerator[None]:
        count = 1
        while count:
            async with self._database.write(frees_space=True) as uow:
                count = await delete_old_acts(uow, older_than_s=self._settings.audit_days * DAY_S)
            yield

    async def _delete_orphans(self) -> AsyncGenerator[None]:
        try:
            async with aclosing(
                delete_orphans(self._database, self._store, older_than_s=self._settings.orphans_after_s)
            ) as pages:
                async for _ in pages:
                    yield
        except Unavailable:
            raise
        except PhoenixError as error:
            _logger.warning("the store could not be listed", error=error.detail)

    async def _read(self, query: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
        async with self._database.read() as session:
            return await query(session)
