"""Jobs that a process remembers: read again when they have changed, and only then. On both databases."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import update
from sqlmodel import col

from builders import OWNER, claim_next, complete_next, submit_reel
from phoenix.contract import JobState
from phoenix.db import UnitOfWork, db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import NotFound
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.library.recent_jobs import RecentJobs
from phoenix.jobs.repository import FullJob, JobFilter
from phoenix.jobs.tables import JobRow, TaskRow

Change = Callable[[UnitOfWork, str], Awaitable[object]]


async def list_one(jobs: RecentJobs) -> FullJob:
    (job,) = (await jobs.list_page(JobFilter(), owner_id=OWNER, limit=10, cursor=None)).jobs
    return job


async def fetch_one(jobs: RecentJobs) -> FullJob:
    return await jobs.fetch((await list_one(jobs)).row.id, owner_id=OWNER)


async def end(uow: UnitOfWork, job_id: str) -> None:
    await cancel(uow, job_id, owner_id=OWNER)


async def name(uow: UnitOfWork, job_id: str) -> None:
    await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(title="Harbour"))


async def send(uow: UnitOfWork, job_id: str) -> None:
    await uow.session.execute(update(TaskRow).where(col(TaskRow.position) == 0).values(dispatched_at=db_now(0)))


async def snooze(uow: UnitOfWork, job_id: str) -> None:
    await uow.session.execute(update(TaskRow).where(col(TaskRow.position) == 0).values(eligible_at=db_now(60)))


@pytest.mark.parametrize("read", [list_one, fetch_one])
async def test_a_job_that_has_not_changed_is_not_read_again(
    database: Database, read: Callable[[RecentJobs], Awaitable[FullJob]]
) -> None:
    jobs = RecentJobs(database)
    await submit_reel(database)

    assert await read(jobs) is await read(jobs)


@pytest.mark.parametrize("read", [list_one, fetch_one])
@pytest.mark.parametrize("change", [end, name, send, snooze])
async def test_a_job_that_has_changed_is_read_again(
    database: Database, read: Callable[[RecentJobs], Awaitable[FullJob]], change: Change
) -> None:
    jobs = RecentJobs(database)
    job_id = await submit_reel(database)
    before = await read(jobs)
    async with database.write() as uow:
        await change(uow, job_id)
    changed = await read(jobs)

    assert changed is not before
    assert (changed.row.title, changed.tasks[0].dispatched_at, changed.tasks[0].eligible_at, changed.row.state) != (
        before.row.title,
        before.tasks[0].dispatched_at,
        before.tasks[0].eligible_at,
        before.row.state,
    )


async def test_a_job_that_a_worker_has_is_read_each_time(database: Database) -> None:
    jobs = RecentJobs(database)
    await submit_reel(database)
    await claim_next(database)

    assert await list_one(jobs) is not await list_one(jobs)


async def test_a_job_is_remembered_again_once_it_has_ended(database: Database) -> None:
    jobs = RecentJobs(database)
    await submit_reel(database)
    await list_one(jobs)
    for queue in ("gpu", "media"):
        await complete_next(database, queue)
    ended = await list_one(jobs)

    assert (ended.row.state, await list_one(jobs)) == (JobState.SUCCEEDED, ended)
    assert await list_one(jobs) is ended


async def test_a_retried_job_is_read_again(database: Database) -> None:
    jobs = RecentJobs(database)
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    await list_one(jobs)
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)

    assert (await list_one(jobs)).row.state is JobState.QUEUED


async def test_a_remembered_job_is_not_shown_to_others(database: Database) -> None:
    jobs = RecentJobs(database)
    job_id = await submit_reel(database)
    await list_one(jobs)

    with pytest.raises(NotFound):
        await jobs.fetch(job_id, owner_id="another")


async def test_the_jobs_that_were_read_first_are_forgotten_first(database: Database) -> None:
    jobs = RecentJobs(database, max_tasks=3)
    ids = [await submit_reel(database) for _ in range(3)]
    read = [await jobs.fetch(job_id, owner_id=OWNER) for job_id in ids]

    assert [jobs.remembers(job) for job in read] == [False, False, True]
