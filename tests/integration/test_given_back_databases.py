"""A database of PostgreSQL that a test gives back is like the template again before the next test, or it is dropped."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy.engine import URL

from fixtures.databases import PostgresDatabases

NUMBER = "SELECT oid FROM pg_database WHERE datname = current_database()"
"""Stays when a database gets another name."""
ADD_LEASE = "INSERT INTO leader_leases VALUES ('retention', 'somebody', now())"
CHANGES = (
    "ALTER TABLE api_keys DROP COLUMN last_used_at",
    "ALTER TABLE api_keys ALTER COLUMN name DROP NOT NULL",
    "CREATE INDEX ON api_keys (name)",
    "CREATE TABLE more (number integer)",
    "CREATE SCHEMA others",
    "DROP TABLE leader_leases",
    "DROP TABLE alembic_version",
    "UPDATE alembic_version SET version_num = '0099'",
    "DROP TRIGGER jobs_words ON jobs",
    "CREATE OR REPLACE FUNCTION jobs_words() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER ROLE CURRENT_USER IN DATABASE {name} SET search_path = others",
    f"{ADD_LEASE}; ANALYZE leader_leases",
)


@pytest.fixture(scope="module")
def databases(postgres_server: URL, postgres_template: str) -> Iterator[PostgresDatabases]:
    """Others than those of the session: no test of another file gets one of these."""
    databases = PostgresDatabases(postgres_server, postgres_template)
    yield databases
    databases.close()


@asynccontextmanager
async def connected(url: URL) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        await connection.close(timeout=100)


def change(databases: PostgresDatabases, *statements: str) -> int:
    """Borrows a database for these statements. Returns its number."""

    async def execute(url: URL) -> int:
        async with connected(url) as connection:
            for statement in statements:
                await connection.execute(statement.format(name=url.database))
            return await connection.fetchval(NUMBER)

    with databases.borrowed() as url:
        return asyncio.run(execute(url))


def ask(databases: PostgresDatabases, query: str) -> object:
    """What a borrowed database answers."""

    async def fetch(url: URL) -> object:
        async with connected(url) as connection:
            return await connection.fetchval(query)

    with databases.borrowed() as url:
        return asyncio.run(fetch(url))


def test_the_next_test_gets_the_database_without_rows(databases: PostgresDatabases) -> None:
    number = change(databases, ADD_LEASE)

    assert ask(databases, NUMBER) == number
    assert ask(databases, "SELECT count(*) FROM leader_leases") == 0
    assert ask(databases, "SELECT count(*) FROM alembic_version") == 1


def test_ids_begin_again(databases: PostgresDatabases) -> None:
    following = "SELECT nextval(pg_get_serial_sequence('job_embeddings', 'id'))"
    number = change(databases, following, following)

    assert (ask(databases, NUMBER), ask(databases, following)) == (number, 1)


@pytest.mark.parametrize("statement", CHANGES)
def test_a_database_that_differs_in_more_than_rows_is_dropped(databases: PostgresDatabases, statement: str) -> None:
    number = change(databases, statement)

    assert ask(databases, f"SELECT count(*) FROM pg_database WHERE oid = {number}") == 0


def test_a_connection_that_a_test_has_left_open_is_closed_and_its_next_one_finds_nothing(
    databases: PostgresDatabases,
) -> None:
    async def leave_open(url: URL) -> asyncpg.Connection:
        connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
        await connection.execute("BEGIN; LOCK TABLE leader_leases")
        return connection

    async def connect_again(url: URL) -> None:
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            async with connected(url):
                pass

    with asyncio.Runner() as runner:
        with databases.borrowed() as url:
            left = runner.run(leave_open(url))
            number = runner.run(left.fetchval(NUMBER))
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError)):
            runner.run(left.execute("SELECT 1"))
        runner.run(connect_again(url))
    assert ask(databases, NUMBER) == number


def test_two_databases_at_once_are_two(databases: PostgresDatabases) -> None:
    with databases.borrowed() as one, databases.borrowed() as other:
        assert one.database != other.database
