"""The drill of an upgrade and of going back: a later version migrates, and this version works before and after that."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.engine import URL

from builders import complete_next, event_types, get_job, submit_reel
from fixtures.later_version import later_migrations
from phoenix.contract import JobState
from phoenix.db.engine import open_engine
from phoenix.db.migrate import upgrade
from phoenix.db.schema import SchemaAge, read_schema
from phoenix.db.unit_of_work import Database
from phoenix.settings import DatabaseSettings


@pytest.fixture
def later_version(any_database_url: URL, tmp_path: Path) -> Config:
    return later_migrations(any_database_url, tmp_path)


async def test_jobs_outlive_an_upgrade_and_the_way_back(any_database_url: URL, later_version: Config) -> None:
    database = Database(open_engine(any_database_url, DatabaseSettings()))
    first, second = await submit_reel(database, "a"), await submit_reel(database, "b")
    await complete_next(database)
    before = await event_types(database, first)

    # The processes of this version still run, with connections that they opened before.
    await asyncio.to_thread(command.upgrade, later_version, "head")
    assert await event_types(database, first) == before
    third = await submit_reel(database, "c")
    await complete_next(database, "media")
    assert (await get_job(database, first)).row.state is JobState.SUCCEEDED
    async with database.write() as uow:
        await uow.session.execute(text("UPDATE jobs SET mood = 'calm'"))
        assert (await uow.session.execute(text("SELECT min(hue), max(hue) FROM tasks"))).one() == (7, 7)
    await database.close()

    # Back to this version: its `phoenix db upgrade` leaves the newer schema as it is.
    assert not await asyncio.to_thread(upgrade, any_database_url)
    assert (await read_schema(any_database_url, DatabaseSettings())).age is SchemaAge.NEWER
    database = Database(open_engine(any_database_url, DatabaseSettings()))
    await complete_next(database)
    await complete_next(database, "media")
    assert (await get_job(database, second)).row.state is JobState.SUCCEEDED
    await database.close()

    # And the later version takes its migration back, which this version never asks of an operator.
    await asyncio.to_thread(command.downgrade, later_version, "-1")
    assert (await read_schema(any_database_url, DatabaseSettings())).age is SchemaAge.CURRENT
    database = Database(open_engine(any_database_url, DatabaseSettings()))
    assert (await event_types(database, first))[: len(before)] == before
    await complete_next(database)
    await complete_next(database, "media")
    assert (await get_job(database, third)).row.state is JobState.SUCCEEDED
    await database.close()
