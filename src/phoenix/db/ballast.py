"""A file that holds free space for the deletions of a SQLite database, which need space before they free any.

Other programs cannot take this space, so `phoenix jobs delete` works on a disk that has no other space left.
"""

import os
from pathlib import Path

from phoenix.disk_space import ReadFreeBytes, read_free_bytes
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

BALLAST_BYTES = 16 * 2**20
"""Twice what the write-ahead log and its checkpoint take: SQLite starts the log again after 4 MiB."""

_BLOCK_BYTES = 2**20


class Ballast:
    """The ballast of one database. All processes share the file: any may give it up, and any may refill it."""

    def __init__(
        self, database: Path, *, size_bytes: int = BALLAST_BYTES, read_free_bytes: ReadFreeBytes = read_free_bytes
    ) -> None:
        self.path = database.with_name(database.name + ".ballast")
        self._folder = database.parent
        self._size_bytes = size_bytes
        self._read_free_bytes = read_free_bytes

    def has_space(self) -> bool:
        """Whether the disk has any space worth a write. False while it is full."""
        return self._read_free_bytes(self._folder) >= _BLOCK_BYTES

    def refill(self) -> None:
        """Makes the file as large as it should be, or as the disk allows. Blocks for about 0.1 s if it is missing."""
        try:
            held_bytes = self.path.stat().st_size if self.path.exists() else 0
            missing_bytes = min(self._size_bytes - held_bytes, self._read_free_bytes(self._folder) - _BLOCK_BYTES)
            if missing_bytes < _BLOCK_BYTES:
                return
            with self.path.open("ab", buffering=0) as file:
                for _ in range(missing_bytes // _BLOCK_BYTES):
                    # A file system that compresses would keep no space for zeros.
                    file.write(os.urandom(_BLOCK_BYTES))
        except OSError:
            return  # the disk takes no more: what the file has is kept

    def give_up_if_needed(self) -> None:
        """Gives the space up if the disk has less than half of the ballast. Call this before a deletion."""
        if self._read_free_bytes(self._folder) < self._size_bytes // 2:
            self.give_up()

    def give_up(self) -> None:
        """Deletes the file, if it is there: other processes may take its space too, so the deletion should follow."""
        if self.path.exists():
            self.path.unlink(missing_ok=True)
            _logger.warning("the ballast was given up to make room for a deletion", file=str(self.path))
