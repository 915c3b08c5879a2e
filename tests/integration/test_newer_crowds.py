"""More jobs of a newer version than the lease reaper looks at in one pass: it repairs the others all the same."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import URL, Table, insert, inspect, select, text, update
from sqlmodel import col

from builders import claim_next, get_job, submit_reel
from phoenix.api.background.lease_reaper import LeaseReaper
from phoenix.contract import JobOptions, JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.recovery import BATCH
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.services import Services, open_services
from phoenix.settings import DatabaseSettings, RedisSettings, Settings

WITH_WEBHOOK = JobOptions.model_validate({"webhook": {"url": "https://example.com/hook"}})
CHANGES = {
    "the clip's kind": "UPDATE tasks SET kind = 'upscale' WHERE position = 0",
    "the assembly's kind": "UPDATE tasks SET kind = 'master' WHERE position = 1",
    "the assembly's state": "UPDATE tasks SET state = 'held' WHERE position = 1",
    "the job's kind": "UPDATE jobs SET kind = 'slideshow'",
    "the job's ending": "UPDATE jobs SET ending = 'paused'",
}


@pytest.fixture
async def services(any_database_url: URL, tmp_path: Path) -> AsyncGenerator[Services]:
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=any_database_url.render_as_string(hide_password=False)),
        redis=RedisSettings(url="redis://127.0.0.1:1/0"),
    )
    async with open_services(settings) as services:
        yield services


async def make_newer(database: Database, what: str) -> None:
    """Makes of the one job that there is as many of a newer version as a pass of the lease reaper looks at."""
    async with database.write() as uow:
        for row, ids in ((JobRow, ("id",)), (TaskRow, ("id", "job_id"))):
            table = cast("Table", inspect(row).local_table)
            for stored in (await uow.session.execute(select(table))).mappings().all():
                copies = [dict(stored) | {name: f"{stored[name]}_{number}" for name in ids} for number in range(BATCH)]
                await uow.session.execute(insert(table), copies)
        await uow.session.execute(text(CHANGES[what]))


@pytest.mark.parametrize("what", ["the clip's kind", "the assembly's kind", "the assembly's state", "the job's kind"])
async def test_one_that_is_overdue_is_ended(services: Services, what: str) -> None:
    database = services.database
    await submit_reel(database, options=WITH_WEBHOOK)
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).values(queue_deadline_at=db_now(-60)))
    await make_newer(database, what)
    ours = await submit_reel(database)
    async with database.write() as uow:
        late = update(JobRow).where(col(JobRow.id) == ours).values(queue_deadline_at=db_now(-30))
        await uow.session.execute(late)

    await LeaseReaper(services.database, services.settings.scheduler).reap()

    assert (await get_job(database, ours)).row.state is JobState.EXPIRED


@pytest.mark.parametrize("what", ["the clip's kind", "the job's ending"])
async def test_one_whose_worker_is_lost_is_taken_back(services: Services, what: str) -> None:
    database = services.database
    await submit_reel(database)
    await claim_next(database)
    async with database.write() as uow:
        await uow.session.execute(update(TaskRow).values(lease_until=db_now(-60)))
    await make_newer(database, what)
    ours = await submit_reel(database)
    held = await claim_next(database)
    async with database.write() as uow:
        expired = update(TaskRow).where(col(TaskRow.id) == held.task_id).values(lease_until=db_now(-30))
        await uow.session.execute(expired)

    await LeaseReaper(services.database, services.settings.scheduler).reap()

    assert (await get_job(database, ours)).tasks[0].lease_owner is None
