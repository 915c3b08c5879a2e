"""Runs migrations through the async drivers that Phoenix itself uses, on SQLite and on PostgreSQL alike."""

import asyncio
from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.sql.sqltypes import AutoString

from phoenix.access import tables as access_tables  # noqa: F401 - fills the metadata
from phoenix.db.columns import EnumText, UtcDateTime, metadata
from phoenix.jobs import tables as job_tables  # noqa: F401 - fills the metadata
from phoenix.jobs.history import tables as history_tables  # noqa: F401 - fills the metadata
from phoenix.storyboards import tables as storyboard_tables  # noqa: F401 - fills the metadata

MIGRATION_LOCK = 5_401_726
"""The number of an advisory lock. Replicas that start together wait for each other on it."""


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | bool:
    """Renders plain types into migration files, which must not change when our column types do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, EnumText):
        return "sa.Text()"
    if kind == "type" and isinstance(item, AutoString):
        return "sa.String()"
    return False


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Leaves out the index of the search, whose tables differ between the databases."""
    return not (kind == "table" and name is not None and name.startswith("job_words"))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_item=render_item,
        include_name=include_name,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            # All other statements wait behind a migration that waits for a long query, so it waits only briefly.
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        context.run_migrations()


async def run_online() -> None:
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url", ""))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(run_online())
