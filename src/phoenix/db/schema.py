"""Compares a database's schema with the schema of this version. Changes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import URL

from phoenix.db.columns import metadata
from phoenix.db.engine import open_engine
from phoenix.db.migration_scripts import read_revisions
from phoenix.settings import DatabaseSettings

_REVISION = text("SELECT version_num FROM alembic_version")
"""The table in which alembic records what it did."""


class SchemaAge(Enum):
    """How the schema of a database compares with the schema of this version."""

    MISSING = "missing"
    OLDER = "older"
    CURRENT = "current"
    EDITED = "edited"
    """It has this version's revision, and lacks columns: an earlier edit of the same migration made it."""
    NEWER = "newer"
    """This version works with it: migrations only add."""

    @property
    def is_usable(self) -> bool:
        """Whether this version works with the schema."""
        return self in (SchemaAge.CURRENT, SchemaAge.NEWER)


@dataclass(frozen=True)
class Schema:
    """`revision`: the newest migration that the database has had, or None; `newest`: this version's newest.

    `missing`: the columns that an edited schema lacks, as `table.column`.
    """

    revision: str | None
    newest: str | None
    age: SchemaAge
    missing: Sequence[str] = ()

    def explain_edit(self) -> str:
        """What to do about an edited schema, as the end of a sentence about its database. No migration can mend it."""
        more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
        return (
            f"was made by an earlier edit of revision {self.revision}, and lacks {self.missing[0]}{more}."
            " `phoenix db upgrade` does not add them: make the database again."
        )


async def read_schema(url: URL, settings: DatabaseSettings) -> Schema:
    """Reads the revision of the database, and which columns of the imported tables it lacks.

    Creates no SQLite file. Raises the driver's error if it cannot connect.
    """
    revision, missing = await _read(url, settings) if _exists(url) else (None, ())
    ours = read_revisions()
    age = age_of(revision, newest=ours.newest, known=ours.known)
    if age is SchemaAge.CURRENT and missing:
        return Schema(revision, ours.newest, SchemaAge.EDITED, missing)
    return Schema(revision, ours.newest, age)


def age_of(revision: str | None, *, newest: str | None, known: Collection[str]) -> SchemaAge:
    """How `revision` compares with `known`, the revisions of this version; `newest` is the last of them."""
    if revision is None:
        return SchemaAge.MISSING
    if revision not in known:
        return SchemaAge.NEWER
    return SchemaAge.CURRENT if revision == newest else SchemaAge.OLDER


async def _read(url: URL, settings: DatabaseSettings) -> tuple[str | None, tuple[str, ...]]:
    engine = open_engine(url, settings)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision_and_missing)
    finally:
        await engine.dispose()


def _revision_and_missing(connection: Connection) -> tuple[str | None, tuple[str, ...]]:
    found = {
        name: {column["name"] for column in columns}
        for (_, name), columns in inspect(connection).get_multi_columns().items()
    }
    missing = (
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if column.name not in found.get(table.name, ())
    )
    revision = connection.scalar(_REVISION) if "alembic_version" in found else None
    return revision, tuple(missing)


def _exists(url: URL) -> bool:
    return url.get_backend_name() != "sqlite" or (url.database is not None and Path(url.database).exists())
