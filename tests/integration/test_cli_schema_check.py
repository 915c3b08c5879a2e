"""`phoenix api` and `phoenix worker` on a database without its tables end at once; without a database they start."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from phoenix.cli.app import app
from phoenix.cli.preflight import require_schema
from phoenix.db.engine import open_engine
from phoenix.db.schema import SchemaAge, age_of, read_schema
from phoenix.settings import DatabaseSettings, Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without tables; the file of the SQLite one is not even there."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'phoenix.db'}"
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def empty_postgres(postgres_server: URL) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"

    async def administer(statement: str) -> None:
        connection = await asyncpg.connect(postgres_server.render_as_string(hide_password=False))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(administer(f"CREATE DATABASE {name}"))
    yield postgres_server.set(database=name).render_as_string(hide_password=False)
    asyncio.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.mark.parametrize("command", [["api", "--port", "0"], ["worker", "--device", "cpu"]], ids=["api", "worker"])
def test_without_tables_a_command_names_the_command_that_makes_them(
    command: list[str], empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    result = CliRunner().invoke(app, command)
    shown = " ".join(result.stderr.split())
    assert (result.exit_code, "no tables yet: run `phoenix db upgrade` first." in shown) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    away = DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/none")
    require_schema(Settings(data_dir=tmp_path, database=away))


async def test_a_migrated_database_has_the_newest_schema(any_database_url: URL) -> None:
    schema = await read_schema(any_database_url, DatabaseSettings())
    assert (schema.age, schema.revision) == (SchemaAge.CURRENT, schema.newest)


def test_a_database_of_an_earlier_edit_of_the_same_revision_is_reported_as_such(
    any_database_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(drop_column(any_database_url))
    monkeypatch.setenv("DATABASE_URL", any_database_url.render_as_string(hide_password=False))
    for command in ("api", "doctor"):
        result = CliRunner().invoke(app, [command])
        shown = " ".join(result.output.split())
        assert result.exit_code == 1
        assert "lacks api_keys.last_used_at. `phoenix db upgrade` does not add them: make the database again." in shown


async def drop_column(url: URL) -> None:
    engine = open_engine(url, DatabaseSettings())
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE api_keys DROP COLUMN last_used_at"))
    await engine.dispose()


@pytest.mark.parametrize(
    ("revision", "age"),
    [(None, SchemaAge.MISSING), ("a", SchemaAge.OLDER), ("b", SchemaAge.CURRENT), ("c", SchemaAge.NEWER)],
)
def test_a_schema_is_as_old_as_its_newest_migration(revision: str | None, age: SchemaAge) -> None:
    assert age_of(revision, newest="b", known={"a", "b"}) is age
