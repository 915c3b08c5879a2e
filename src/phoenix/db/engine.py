"""Opens the database: one AsyncEngine per process, with time limits that keep faults bounded."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from phoenix.private_files import close_to_others
from phoenix.settings import DatabaseSettings

RETRY_S = 0.01
PING_AFTER_IDLE_S = 0.1
_IDLE_SINCE_S = "phoenix_idle_since_s"


class WaitingConnection(sqlite3.Connection):
    """Also waits, for at most `timeout` seconds, while another process switches a new file to the write-ahead log.

    SQLite's busy handler covers ordinary locks, but not that switch: when several processes open a file together, one
    of them can fail with "database is locked" at once (measured: once in 1,200 openings by six processes).
    Connections are opened in the driver's own thread, so that waiting blocks no event loop.
    """

    def __init__(self, database: str, timeout: float = 5.0, **options: Any) -> None:
        super().__init__(database, timeout, **options)
        # The driver's own transactions begin too late for BEGIN IMMEDIATE; the engine emits ours.
        self.isolation_level = None
        self._enable_write_ahead_log(time.monotonic() + timeout)
        # Builds of SQLite differ in whether deleted bytes are overwritten.
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            self.execute(f"PRAGMA {pragma}")

    def _enable_write_ahead_log(self, deadline_s: float) -> None:
        while True:
            try:
                self.execute("PRAGMA journal_mode=WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline_s:
                    self.close()
                    raise
            time.sleep(RETRY_S)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # The low byte is the error. The other bytes identify the lock.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


WRITES = "phoenix_writes"
"""Execution option of a connection: whether its transactions write."""


def database_url(settings: DatabaseSettings, data_dir: Path) -> URL:
    """The URL with its async driver; a SQLite file in `data_dir` when none is set."""
    url = make_url(settings.url or f"sqlite:///{data_dir.absolute() / 'phoenix.db'}")
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgresql": "postgresql+asyncpg",
        "postgres": "postgresql+asyncpg",
    }
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def find_sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite database; None for another database, and for one in memory."""
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(url.database) if is_file and url.database else None


def open_engine(url: URL, settings: DatabaseSettings, *, kept_connections: int | None = None) -> AsyncEngine:
    """Opens at most twice `pool_size` connections, of which `kept_connections` stay open while idle.

    The text of its errors has no bound values: these may be secrets, and errors are logged.
    """
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, settings)
    kept = settings.pool_size if kept_connections is None else kept_connections
    timeout_ms = str(int(settings.statement_timeout_s * 1000))
    engine = create_async_engine(
        url,
        pool_size=kept,
        max_overflow=2 * settings.pool_size - kept,
        pool_timeout=settings.statement_timeout_s,
        # The connection that was used last is used next: it needs no ping, and has the statements prepared.
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "timeout": settings.statement_timeout_s,
            # A process that is paused inside a transaction must not hold its locks for ever.
            "server_settings": {
                "statement_timeout": timeout_ms,
                "lock_timeout": timeout_ms,
                "idle_in_transaction_session_timeout": timeout_ms,
            },
        },
    )
    _ping_after_idle(engine.sync_engine)
    return engine


def _ping_after_idle(engine: Engine) -> None:
    """Replaces the `pool_pre_ping` of SQLAlchemy, whose check with asyncpg is three round trips for each transaction.

    A connection that broke within the last `PING_AFTER_IDLE_S` fails its next transaction, and all others are opened
    again.
    """

    def note_idle(_connection: Any, record: Any) -> None:
        record.info[_IDLE_SINCE_S] = time.monotonic()

    def ping(connection: Any, record: Any, _proxy: Any) -> None:
        since_s = record.info.get(_IDLE_SINCE_S)
        if since_s is None or time.monotonic() - since_s < PING_AFTER_IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The pool opens this connection again, and each older one when its turn comes.
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", note_idle)
    event.listen(engine, "checkout", ping)


def _open_sqlite(url: URL, settings: DatabaseSettings) -> AsyncEngine:
    if url.database:
        file = Path(url.database)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.url is None:
            # SQLite gives the permissions of the database to its log.
            close_to_others(file)
    engine = create_async_engine(
        url,
        pool_size=settings.pool_size,
        hide_parameters=True,
        connect_args={"timeout": settings.busy_timeout_s, "factory": WaitingConnection},
    )
    event.listen(engine.sync_engine, "begin", _begin_sqlite_transaction)
    return engine


def _begin_sqlite_transaction(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once with SQLITE_BUSY, in spite of the busy
    # time-out. A transaction that takes the write lock at the start waits instead.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
