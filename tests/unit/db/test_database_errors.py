"""What an error of the database means for the caller."""

import errno
import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from phoenix.db.errors import explain_database_error
from phoenix.errors import SchemaOutdated, StorageFull, Unavailable


def sqlite_error(code: int) -> OperationalError:
    original = sqlite3.OperationalError("it failed")
    original.sqlite_errorcode = code
    return OperationalError("INSERT", None, original)


def postgres_error(state: str) -> DBAPIError:
    class ServerError(Exception):
        sqlstate = state

    return DBAPIError("INSERT", None, ServerError("it failed"))


@pytest.mark.parametrize(
    "error",
    [sqlite_error(sqlite3.SQLITE_FULL), OSError(errno.ENOSPC, "No space left on device")],
)
def test_a_full_disk_of_sqlite_is_named_with_the_remedy(error: Exception) -> None:
    explained = explain_database_error(error)
    assert isinstance(explained, StorageFull)
    assert "delete jobs" in explained.detail


def test_a_full_disk_of_postgresql_is_named_without_a_remedy_that_frees_nothing_there() -> None:
    explained = explain_database_error(postgres_error("53100"))
    assert isinstance(explained, StorageFull)
    assert "make room on it" in explained.detail
    assert "only if their files are on the same disk" in explained.detail


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN])
@pytest.mark.parametrize(("has_space", "is_full"), [(False, True), (True, False)])
def test_a_file_that_sqlite_cannot_extend_means_a_full_disk_if_the_disk_has_no_space(
    code: int, has_space: bool, is_full: bool
) -> None:
    assert isinstance(explain_database_error(sqlite_error(code), has_space=has_space), StorageFull) is is_full


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), "The database is busy with another write."),
        (sqlite_error(sqlite3.SQLITE_IOERR), "The database is away."),
        (postgres_error("53200"), "The database is out of memory."),
        (postgres_error("53300"), "The database has no connection left."),
        (postgres_error("40P01"), "The database was busy with the same rows."),
        (postgres_error("57014"), "The database took too long."),
        (postgres_error("57P01"), "The database is away."),
        (PoolTimeout(), "Every connection of this process to the database is in use."),
        (ConnectionRefusedError(), "The database is away."),
    ],
)
def test_a_condition_that_passes_is_described(error: Exception, detail: str) -> None:
    explained = explain_database_error(error)
    assert explained is not None
    assert (type(explained), explained.detail) == (Unavailable, detail)
    assert explained.retry_after_s


def test_a_missing_table_is_a_missing_migration() -> None:
    assert isinstance(explain_database_error(postgres_error("42P01")), SchemaOutdated)


@pytest.mark.parametrize(
    "error", [postgres_error("42601"), IntegrityError("INSERT", None, ValueError("database or disk is full"))]
)
def test_a_fault_of_the_program_is_not_explained(error: Exception) -> None:
    assert explain_database_error(error) is None
