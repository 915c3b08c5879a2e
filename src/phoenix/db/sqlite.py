"""A SQLite connection set up for Phoenix: write-ahead log, full sync, foreign keys, no implicit transactions."""

import sqlite3
import time
from typing import Any

RETRY_S = 0.01


class WaitingConnection(sqlite3.Connection):
    """Also waits, for at most `timeout` seconds, while another process switches a new file to the write-ahead log.

    SQLite's busy handler covers ordinary locks, but not that switch: of processes that open a file together, one
    fails with "database is locked" at once (measured: once in 1,200 openings by six processes). Connections are
    opened in the driver's own thread, so that waiting blocks no event loop.
    """

    def __init__(self, database: str, timeout: float = 5.0, **options: Any) -> None:
        super().__init__(database, timeout, **options)
        # The driver's own transactions begin too late for BEGIN IMMEDIATE; the engine emits ours.
        self.isolation_level = None
        self._turn_to_write_ahead_log(time.monotonic() + timeout)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            self.execute(f"PRAGMA {pragma}")

    def _turn_to_write_ahead_log(self, deadline_s: float) -> None:
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
    # The low byte is the error; the rest says which lock it was.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
