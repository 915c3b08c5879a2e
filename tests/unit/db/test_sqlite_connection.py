"""Opening a SQLite file: with its settings, and beside a connection that holds it."""

import sqlite3
import threading
from pathlib import Path

import pytest

from phoenix.db.engine import WaitingConnection


def open_connection(path: Path, timeout_s: float = 30) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=timeout_s, factory=WaitingConnection)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "phoenix.db"


def hold(path: Path) -> sqlite3.Connection:
    """A connection that keeps the file from being turned to the write-ahead log."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    return holder


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)]
)
def test_a_connection_has_the_settings(path: Path, pragma: str, value: object) -> None:
    connection = open_connection(path)

    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)

    connection.close()


def test_a_new_file_that_is_held_is_waited_for(path: Path) -> None:
    holder = hold(path)
    release = threading.Timer(0.1, holder.execute, ["ROLLBACK"])
    release.start()

    connection = open_connection(path)

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    release.join()
    connection.close()
    holder.close()


def test_a_file_that_stays_held_is_an_error_after_the_time_out(path: Path) -> None:
    holder = hold(path)

    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        open_connection(path, timeout_s=0.05)

    holder.close()


def test_a_file_that_is_no_database_is_an_error_at_once(path: Path) -> None:
    path.write_bytes(b"no database" * 100)

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_connection(path)
