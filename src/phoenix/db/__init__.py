"""Engine, sessions, column types and the unit of work. The tables are in `jobs` and `access`."""

from phoenix.db.ballast import Ballast
from phoenix.db.columns import NEWER_VERSION_RETRY_AFTER_S, EnumText, UtcDateTime, db_now, metadata, seconds_since
from phoenix.db.encryption import SecretCipher
from phoenix.db.engine import database_url, open_engine
from phoenix.db.recent_read import RecentRead
from phoenix.db.rows import change_new_row, detached, insert_rows, new_row, table_of
from phoenix.db.unit_of_work import Database, PreCommitHook, UnitOfWork, acquire_lock, write_temporary_file

__all__ = [
    "NEWER_VERSION_RETRY_AFTER_S",
    "Ballast",
    "Database",
    "EnumText",
    "PreCommitHook",
    "RecentRead",
    "SecretCipher",
    "UnitOfWork",
    "UtcDateTime",
    "acquire_lock",
    "change_new_row",
    "database_url",
    "db_now",
    "detached",
    "insert_rows",
    "metadata",
    "new_row",
    "open_engine",
    "seconds_since",
    "table_of",
    "write_temporary_file",
]
