"""The usage of an owner still counts after its jobs were deleted."""

import pytest
from sqlalchemy import func, select, update
from sqlmodel import col

from builders import OWNER, complete_next, submit_reel
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.retention import delete_job
from phoenix.jobs.scheduling.dispatch import read_usage_s
from phoenix.jobs.scheduling.usage import delete_old_usage
from phoenix.jobs.tables import AttemptRow, UsageRow


async def delete_one_that_took_100_s(database: Database, *, hours_ago: float = 0) -> None:
    job_id = await submit_reel(database)
    await complete_next(database)
    await complete_next(database, "media")
    since_s = -3600 * hours_ago
    span = {"started_at": db_now(since_s - 100), "ended_at": db_now(since_s)}
    async with database.write() as uow:
        await uow.session.execute(update(AttemptRow).values(span))
        await delete_job(uow, job_id, owner_id=OWNER)


async def test_the_usage_of_a_deleted_job_counts_for_the_fair_order(database: Database) -> None:
    await delete_one_that_took_100_s(database)
    async with database.read() as session:
        usage_s = await read_usage_s(session, "gpu")
    # Less what is forgotten while nothing of this owner runs.
    assert 0 < usage_s[OWNER] <= 101


@pytest.mark.parametrize(("hours_ago", "left"), [(1, 2), (25, 0)])
async def test_the_usage_of_a_deleted_job_is_kept_for_a_day(database: Database, hours_ago: float, left: int) -> None:
    await delete_one_that_took_100_s(database, hours_ago=hours_ago)
    async with database.write() as uow:
        await delete_old_usage(uow)
        assert await uow.session.scalar(select(func.count()).select_from(UsageRow)) == left


async def test_old_usage_is_deleted(database: Database) -> None:
    await delete_one_that_took_100_s(database)
    async with database.write() as uow:
        of_gpu = update(UsageRow).where(col(UsageRow.queue) == "gpu")
        await uow.session.execute(of_gpu.values(started_at=db_now(-86_401)))
        await delete_old_usage(uow)
        assert (await uow.session.scalars(select(col(UsageRow.queue)))).all() == ["media"]
