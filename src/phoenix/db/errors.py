"""Says what an error of the database means for the caller: full, outdated, busy or away. Reads and writes nothing."""

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from phoenix.disk_space import is_full_disk
from phoenix.errors import SchemaOutdated, StorageFull, Unavailable

TRANSIENT_STATES = ("08", "25P03", "40", "53", "55P03", "57")
"""SQLSTATEs, or their classes, of PostgreSQL: cut off, timed out, deadlocked, out of resources, waiting for a lock.

asyncpg reports them as plain errors. All of these conditions end by themselves.
"""

UNDEFINED_STATES = ("42P01", "42703")
"""SQLSTATEs of a missing table and a missing column. SQLite reports them only in words."""

RETRY_AFTER_S = 2

_DISK_FULL_STATE = "53100"
_POSTGRES_FULL = (
    "The disk of PostgreSQL is full: make room on it. Deleting jobs does so only if their files are on the same disk."
)
_DETAILS_BY_STATE = {
    "53200": "The database is out of memory.",
    "53300": "The database has no connection left.",
    "40": "The database was busy with the same rows.",
    "55P03": "The database was busy with the same rows.",
    "57014": "The database took too long.",
}
_AWAY = "The database is away."
_NO_COLUMN = " has no column named "
"""What SQLite says of an INSERT."""

_FILE_ERRORS = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""SQLite cannot make or extend one of its files. It reports a full disk so unless the write of a page finds it."""


def explain_database_error(error: Exception, *, has_space: bool = True) -> Unavailable | None:
    """The error to raise in place of an error of the database; None if the error is a fault of the program.

    `has_space`: whether the disk of a SQLite database has any space left.
    """
    state: str | None = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    if state == _DISK_FULL_STATE:
        return StorageFull(_POSTGRES_FULL)
    if _is_full(error, has_space=has_space):
        return StorageFull("The disk of the database is full: delete jobs or uploads, or make room on it.")
    if isinstance(error, DBAPIError) and _lacks_tables(error, state):
        return SchemaOutdated(retry_after_s=RETRY_AFTER_S)
    detail = _find_condition(error, state)
    return None if detail is None else Unavailable(detail, retry_after_s=RETRY_AFTER_S)


def _is_full(error: Exception, *, has_space: bool) -> bool:
    code = _sqlite_code(error)
    is_unwritable = code in _FILE_ERRORS and not has_space
    return code == sqlite3.SQLITE_FULL or is_unwritable or is_full_disk(error)


def _find_condition(error: Exception, state: str | None) -> str | None:
    """What keeps the database from working now, as a sentence; None for an error that lasts."""
    if isinstance(error, PoolTimeout):
        return "Every connection of this process to the database is in use."
    if not isinstance(error, DBAPIError):
        return _AWAY
    if _sqlite_code(error) == sqlite3.SQLITE_BUSY:
        return "The database is busy with another write."
    is_transient = state is not None and state.startswith(TRANSIENT_STATES)
    if is_transient or isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return next((text for start, text in _DETAILS_BY_STATE.items() if (state or "").startswith(start)), _AWAY)
    return None


def _lacks_tables(error: DBAPIError, state: str | None) -> bool:
    """Whether a table or column is missing. Our own statements are right, so a migration is missing."""
    text = str(error.orig)
    return state in UNDEFINED_STATES or text.startswith(("no such table", "no such column")) or _NO_COLUMN in text


def _sqlite_code(error: Exception) -> int | None:
    """The primary code of an error of SQLite; None for another error."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, DBAPIError) else None
    # The low byte is the error. The other bytes say where it happened.
    return None if code is None else code & 0xFF
