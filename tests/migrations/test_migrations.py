"""Migrations make the tables that the code expects, on both databases, and can be taken back."""

from alembic import command
from sqlalchemy.engine import URL

from phoenix.db.migrate import alembic_config, upgrade


def test_the_tables_of_the_code_are_those_of_the_migrations(any_database_url: URL) -> None:
    command.check(alembic_config(any_database_url))


def test_migrating_twice_changes_nothing(any_database_url: URL) -> None:
    upgrade(any_database_url)


def test_migrations_can_be_taken_back_and_made_again(any_database_url: URL) -> None:
    command.downgrade(alembic_config(any_database_url), "base")
    upgrade(any_database_url)

    command.check(alembic_config(any_database_url))
