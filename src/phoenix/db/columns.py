"""Column types and SQL expressions that mean the same on SQLite and on PostgreSQL."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, Float, MetaData, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

from phoenix.errors import NewerVersionError
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

NEWER_VERSION_RETRY_AFTER_S = 5
"""Seconds after which to retry: on another replica, or on this one after its upgrade."""

# Named constraints: without names, alembic cannot drop one on SQLite.
NAMING_CONVENTION = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}
metadata: MetaData = SQLModel.metadata
metadata.naming_convention = NAMING_CONVENTION


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC. SQLite has no time zones, so there it is stored naive, and made aware when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EnumText(TypeDecorator[StrEnum]):
    """A StrEnum kept as plain text: a new member needs no migration, and a SQL client shows it readably.

    Raises `NewerVersionError` when a row has a value that this version does not know: during a rolling upgrade another
    replica may know it.
    """

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: StrEnum | str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(self.enum(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        try:
            return None if value is None else self.enum(value)
        except ValueError:
            _logger.warning("found a row of a newer version", enum=self.enum.__name__, value=value)
            raise NewerVersionError(retry_after_s=NEWER_VERSION_RETRY_AFTER_S) from None


class db_now(GenericFunction[datetime]):  # noqa: N801 - reads as a SQL function
    """The database's clock, `db_now(offset_s)` later or earlier: hosts' clocks may disagree by minutes."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, offset_s: float = 0) -> None:
        super().__init__(float(offset_s))


class seconds_since(GenericFunction[float]):  # noqa: N801 - reads as a SQL function
    """`seconds_since(start, end)`: seconds from one instant to a later one, to the millisecond."""

    type = Float()
    inherit_cache = True


@compiles(seconds_since, "postgresql")
def _postgresql_seconds(element: seconds_since, compiler: SQLCompiler, **kw: Any) -> str:
    start, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(extract(epoch FROM {end} - {start}) AS double precision)"


@compiles(seconds_since, "sqlite")
def _sqlite_seconds(element: seconds_since, compiler: SQLCompiler, **kw: Any) -> str:
    start, end = (compiler.process(clause, **kw) for clause in element.clauses)
    # julianday counts days: times 86,400, a double still has milliseconds.
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp, not now(): now() stands still for the whole transaction.
    return f"(clock_timestamp() + {compiler.process(element.clauses, **kw)} * interval '1 second')"


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # %f gives milliseconds; SQLAlchemy reads and compares six digits.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {compiler.process(element.clauses, **kw)} || ' seconds')"
