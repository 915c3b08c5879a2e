"""What a transaction costs: no check of a connection in steady use, and no transaction for one read."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL

from phoenix.contract import JobState
from phoenix.db import engine as database_engine
from phoenix.db.engine import open_engine
from phoenix.db.rows import insert_rows, table_of
from phoenix.db.unit_of_work import Database
from phoenix.errors import Unavailable
from phoenix.ids import new_job_id
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.settings import DatabaseSettings


@pytest.fixture
async def postgres(postgres_url: URL) -> AsyncIterator[Database]:
    """With one connection, so that each transaction has the connection of the one before."""
    opened = Database(open_engine(postgres_url, DatabaseSettings(pool_size=1), kept_connections=1))
    yield opened
    await opened.close()


async def backend_of(database: Database) -> int:
    async with database.read() as session:
        return (await session.execute(select(func.pg_backend_pid()))).scalar_one()


async def break_connection(url: URL, backend: int) -> None:
    """Ends the server's side of the connection, and waits until the server has forgotten it."""
    engine = open_engine(url, DatabaseSettings())
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 30000)"), {"pid": backend})
    await engine.dispose()


async def test_a_connection_that_broke_while_it_was_idle_is_opened_again(
    postgres: Database, postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = await backend_of(postgres)
    await break_connection(postgres_url, broken)
    monkeypatch.setattr(database_engine, "PING_AFTER_IDLE_S", 0)
    assert await backend_of(postgres) != broken


async def test_a_connection_that_broke_in_use_fails_one_transaction(
    postgres: Database, postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = await backend_of(postgres)
    await break_connection(postgres_url, broken)
    monkeypatch.setattr(database_engine, "PING_AFTER_IDLE_S", 600)
    with pytest.raises(Unavailable):
        await backend_of(postgres)
    assert await backend_of(postgres) != broken


async def count_pings(database: Database, monkeypatch: pytest.MonkeyPatch, idle_s: float) -> int:
    pings: list[object] = []
    dialect = database.engine.sync_engine.dialect
    ping = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda connection: pings.append(connection) or ping(connection))
    monkeypatch.setattr(database_engine, "PING_AFTER_IDLE_S", idle_s)
    for _ in range(3):
        await backend_of(database)
    return len(pings)


async def test_a_connection_in_steady_use_is_not_checked(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await count_pings(postgres, monkeypatch, idle_s=600) == 0


async def test_a_connection_is_checked_after_it_was_idle(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # A new connection is not checked.
    assert await count_pings(postgres, monkeypatch, idle_s=0) == 2


async def transaction_times(database: Database, *, is_once: bool) -> list[datetime]:
    async with database.read_once() if is_once else database.read() as session:
        return [(await session.execute(select(func.transaction_timestamp()))).scalar_one() for _ in range(2)]


async def test_a_read_of_one_statement_begins_no_transaction(postgres: Database) -> None:
    first, second = await transaction_times(postgres, is_once=True)
    assert first < second


async def test_a_fetch_without_a_database_is_a_passing_fault(postgres_url: URL, tmp_path: Path) -> None:
    nowhere = postgres_url.update_query_dict({"host": str(tmp_path)})
    database = Database(open_engine(nowhere, DatabaseSettings()))
    with pytest.raises(Unavailable):
        await database.fetch(select(func.now()))
    await database.close()


async def test_a_write_after_a_fetch_is_rolled_back_with_its_error(postgres: Database) -> None:
    await postgres.fetch(select(func.now()))
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(postgres)
    ((count,),) = await postgres.fetch(select(func.count()).select_from(table_of(JobRow)))
    assert count == 0


async def test_a_connection_is_used_again_before_an_older_one(postgres_url: URL) -> None:
    database = Database(open_engine(postgres_url, DatabaseSettings(pool_size=2)))
    async with database.read():
        used_last = await backend_of(database)
        assert await backend_of(database) == used_last
    newest = {await backend_of(database) for _ in range(4)}
    assert len(newest) == 1
    await database.close()


async def test_a_read_of_many_statements_is_one_transaction(postgres: Database) -> None:
    # After a read without a transaction, over the same connection.
    await transaction_times(postgres, is_once=True)
    first, second = await transaction_times(postgres, is_once=False)
    assert first == second


async def write_and_fail(database: Database) -> None:
    async with database.write() as uow:
        await insert_rows(uow.session, [await new_job(database)])
        raise ZeroDivisionError


async def test_a_write_after_a_read_of_one_statement_is_rolled_back_with_its_error(postgres: Database) -> None:
    await transaction_times(postgres, is_once=True)
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(postgres)
    async with postgres.read_once() as session:
        assert (await session.execute(select(func.count()).select_from(table_of(JobRow)))).scalar_one() == 0


async def new_job(database: Database) -> JobRow:
    async with database.read_once() as session:
        now = (await session.execute(select(func.now()))).scalar_one()
    return JobRow(
        id=new_job_id(),
        owner_id="somebody",
        kind="reel",
        state=JobState.QUEUED,
        request={"clips": [{"prompt": "a balloon"}]},
        created_at=now,
        queued_at=now,
        run_timeout_s=60,
    )


def new_task(job: JobRow, position: int) -> TaskRow:
    return TaskRow(
        id=f"tsk_{job.id}_{position}",
        job_id=job.id,
        kind=TaskKind.RENDER,
        position=position,
        queue="gpu",
        state=TaskState.READY,
        prerequisites=[],
        waiting_since=job.queued_at,
        eligible_at=job.queued_at,
    )


async def test_inserted_rows_are_those_that_a_flush_would_write(postgres: Database) -> None:
    job, flushed = await new_job(postgres), await new_job(postgres)
    async with postgres.write() as uow:
        await insert_rows(uow.session, [job])
        await insert_rows(uow.session, [new_task(job, position) for position in range(3)])
        uow.session.add(flushed)
        await uow.session.flush()
        uow.session.add_all(new_task(flushed, position) for position in range(3))
    tables = [(table_of(JobRow), "id"), (table_of(TaskRow), "position")]
    differing = {"id", "job_id", "created_at", "queued_at", "waiting_since", "eligible_at"}
    for table, order in tables:
        compared = [column for column in table.columns if column.name not in differing]
        job_id = table.c.job_id if "job_id" in table.c else table.c.id
        async with postgres.read() as session:
            one, other = [
                (await session.execute(select(*compared).where(job_id == each.id).order_by(table.c[order]))).all()
                for each in (job, flushed)
            ]
        assert one == other
        assert len(one) == (1 if table.name == "jobs" else 3)


async def test_no_rows_are_inserted_by_no_statement(postgres: Database) -> None:
    async with postgres.write() as uow:
        await insert_rows(uow.session, [])
