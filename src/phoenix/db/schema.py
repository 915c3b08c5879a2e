"""Compares a database's schema with the schema of this version. Changes nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from phoenix.db.engine import open_engine
from phoenix.db.migrate import alembic_config
from phoenix.settings import DatabaseSettings


class SchemaAge(Enum):
    """How the schema of a database compares with the schema of this version."""

    MISSING = "missing"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"
    """This version works with it: migrations only add."""

    @property
    def is_usable(self) -> bool:
        """Whether this version works with the schema."""
        return self in (SchemaAge.CURRENT, SchemaAge.NEWER)


@dataclass(frozen=True)
class Schema:
    """`revision`: the newest migration that the database has had, or None; `newest`: this version's newest."""

    revision: str | None
    newest: str | None
    age: SchemaAge


async def read_schema(url: URL, settings: DatabaseSettings) -> Schema:
    """Reads the revision of the database. Creates no SQLite file. Raises the driver's error if it cannot connect."""
    revision = await _read_revision(url, settings) if _exists(url) else None
    scripts = ScriptDirectory.from_config(alembic_config(url))
    newest, known = scripts.get_current_head(), {script.revision for script in scripts.walk_revisions()}
    return Schema(revision, newest, age_of(revision, newest=newest, known=known))


def age_of(revision: str | None, *, newest: str | None, known: Collection[str]) -> SchemaAge:
    """How `revision` compares with `known`, the revisions of this version; `newest` is the last of them."""
    if revision is None:
        return SchemaAge.MISSING
    if revision not in known:
        return SchemaAge.NEWER
    return SchemaAge.CURRENT if revision == newest else SchemaAge.OLDER


async def _read_revision(url: URL, settings: DatabaseSettings) -> str | None:
    engine = open_engine(url, settings)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _exists(url: URL) -> bool:
    return url.get_backend_name() != "sqlite" or (url.database is not None and Path(url.database).exists())
