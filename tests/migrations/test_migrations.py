"""Migrations make the tables that the code expects, on both databases, and can be taken back."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from sqlalchemy.engine import URL

from phoenix.cli.doctor import CheckStatus, check_database
from phoenix.db.migrate import alembic_config, upgrade
from phoenix.settings import Settings


def test_the_tables_of_the_code_are_those_of_the_migrations(any_database_url: URL) -> None:
    command.check(alembic_config(any_database_url))


def test_what_a_newer_version_has_migrated_is_left_as_it_is(tmp_path: Path) -> None:
    url = URL.create("sqlite+aiosqlite", database=str(tmp_path / "phoenix.db"))
    assert upgrade(url)
    with closing(sqlite3.connect(tmp_path / "phoenix.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of_tomorrow'")
        connection.commit()

    assert not upgrade(url)
    found = asyncio.run(check_database(Settings(data_dir=tmp_path)))
    assert (found.status, "of_tomorrow" in found.detail) == (CheckStatus.NOTE, True)


def test_migrating_twice_changes_nothing(any_database_url: URL) -> None:
    upgrade(any_database_url)


def test_migrations_can_be_taken_back_and_made_again(any_database_url: URL) -> None:
    command.downgrade(alembic_config(any_database_url), "base")
    upgrade(any_database_url)

    command.check(alembic_config(any_database_url))
