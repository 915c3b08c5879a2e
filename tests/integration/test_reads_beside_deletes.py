"""Jobs that are deleted between two statements of whoever reads them, on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TypeVar

import pytest
from sqlalchemy import URL, text

from builders import OWNER, submit_reel
from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.event_log.reader import SqlEventLog
from phoenix.jobs.repository import JobFilter, get_full_job, list_jobs
from phoenix.jobs.retention import delete_job
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.views import view_job
from phoenix.settings import DatabaseSettings

_T = TypeVar("_T")
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tasks'::regclass")


@pytest.fixture
async def database(postgres_url: URL) -> AsyncIterator[Database]:
    opened = Database(open_engine(postgres_url, DatabaseSettings()))
    yield opened
    await opened.close()


@pytest.fixture
async def ended(database: Database) -> str:
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    return job_id


async def no_progress(job_ids: Collection[str]) -> dict[str, ProgressSnapshot]:
    return dict.fromkeys(job_ids, NO_PROGRESS)


async def while_it_is_deleted(database: Database, job_id: str, read: Callable[[], Awaitable[_T]]) -> _T:
    """`read` has seen the job when it is deleted, and comes to its tasks after that."""
    async with database.write() as uow:
        await uow.session.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.ensure_future(read())
        async with asyncio.timeout(100):
            while not (await uow.session.execute(WAITING)).scalar_one():  # noqa: ASYNC110 - locks cannot be awaited
                await asyncio.sleep(0.01)
        await delete_job(uow, job_id, owner_id=OWNER)
    return await reading


async def test_a_page_shows_the_others(database: Database, ended: str) -> None:
    other = await submit_reel(database)

    async def read() -> list[str]:
        page = await list_jobs(database, JobFilter(), owner_id=OWNER, limit=10, cursor=None)
        return [view_job(job.row, job.tasks, job.output).id for job in page.jobs]

    assert other in await while_it_is_deleted(database, ended, read)


async def test_a_job_is_shown_as_it_was(database: Database, ended: str) -> None:
    async def read() -> str:
        async with database.read() as session:
            job = await get_full_job(session, ended, owner_id=OWNER)
        return view_job(job.row, job.tasks, job.output).id

    assert await while_it_is_deleted(database, ended, read) == ended


async def test_a_stream_begins_with_a_snapshot_of_the_others(database: Database, ended: str) -> None:
    other = await submit_reel(database)

    async def read() -> set[str]:
        return set(await SqlEventLog(database, no_progress, QueuePositions(database)).snapshots([ended, other]))

    assert other in await while_it_is_deleted(database, ended, read)
