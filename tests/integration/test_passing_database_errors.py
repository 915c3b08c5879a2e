"""What PostgreSQL ends by itself, when it is frozen or contended, is told as `Unavailable`: try again."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from builders import submit_reel
from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.errors import SchemaOutdated, Unavailable
from phoenix.jobs.repository import find_job_locked
from phoenix.settings import DatabaseSettings


async def test_a_statement_that_ran_out_of_time_is_a_passing_fault(postgres_url: URL) -> None:
    database = Database(open_engine(postgres_url, DatabaseSettings(statement_timeout_s=0.2)))
    with pytest.raises(Unavailable):
        async with database.read() as session:
            await session.execute(text("SELECT pg_sleep(5)"))
    await database.close()


async def test_a_lock_that_is_not_given_in_time_is_a_passing_fault(postgres_url: URL) -> None:
    patient = Database(open_engine(postgres_url, DatabaseSettings()))
    hasty = Database(open_engine(postgres_url, DatabaseSettings(statement_timeout_s=0.2)))
    job_id = await submit_reel(patient)
    async with patient.write() as uow:
        await find_job_locked(uow.session, job_id)
        with pytest.raises(Unavailable):
            async with hasty.write() as other:
                await find_job_locked(other.session, job_id)
    await asyncio.gather(patient.close(), hasty.close())


async def test_a_wrong_statement_is_no_passing_fault(postgres_url: URL) -> None:
    database = Database(open_engine(postgres_url, DatabaseSettings()))
    with pytest.raises(Exception, match="no_such_function") as caught:
        async with database.read() as session:
            await session.execute(text("SELECT no_such_function()"))
    assert not isinstance(caught.value, Unavailable)
    await database.close()


@pytest.mark.parametrize("what", ["* FROM no_such_table", "no_such_column FROM jobs"])
async def test_a_table_or_column_that_is_missing_is_reported_as_a_missing_migration(
    database: Database, what: str
) -> None:
    with pytest.raises(SchemaOutdated, match="phoenix db upgrade"):
        async with database.read() as session:
            await session.execute(text(f"SELECT {what}"))


async def test_a_column_that_an_insert_lacks_is_reported_in_the_same_way(database: Database) -> None:
    with pytest.raises(SchemaOutdated, match="earlier checkout"):
        async with database.write() as uow:
            await uow.session.execute(text("INSERT INTO secrets (name, no_such_column) VALUES ('a', 'b')"))
