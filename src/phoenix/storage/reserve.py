"""Keeps free bytes on the disks of a local store and of SQLite, so that accepted work can end and files be deleted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from phoenix.disk_space import ReadFreeBytes, in_megabytes, read_free_bytes
from phoenix.errors import StorageFull

CACHE_S = 1.0
"""How long a reading of the free bytes counts."""


@dataclass(frozen=True)
class Shortage:
    """A disk with less free bytes than the reserve. `part` is what it holds: `storage` or `database`."""

    part: str
    free_bytes: int
    reserve_bytes: int

    def explain(self) -> str:
        """A sentence without the names of folders, for clients."""
        free, reserve = in_megabytes(self.free_bytes), in_megabytes(self.reserve_bytes)
        return f"The disk of the {self.part} has {free} free, and {reserve} are its reserve."


class StorageReserve:
    """Reads the free bytes of disks, at most once a second, and compares them with `reserve_bytes`; 0 means no reserve.

    `folders`: a folder on each disk, by what the disk holds. Empty for a bucket and a database server.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        reserve_bytes: int,
        *,
        read_free_bytes: ReadFreeBytes = read_free_bytes,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reserve_bytes = reserve_bytes
        self._folders = folders
        self._read_free_bytes = read_free_bytes
        self._clock_s = clock_s
        self._read_at_s = float("-inf")
        self._free_bytes: Mapping[str, int] = {}

    def free_bytes(self) -> Mapping[str, int]:
        """The free bytes of each disk, by what it holds."""
        now_s = self._clock_s()
        if now_s - self._read_at_s >= CACHE_S:
            self._free_bytes = {part: self._read_free_bytes(folder) for part, folder in self._folders.items()}
            self._read_at_s = now_s
        return self._free_bytes

    def list_shortages(self, *, incoming_bytes: int = 0) -> list[Shortage]:
        """The disks that are below the reserve, or would be after `incoming_bytes` more."""
        return [
            Shortage(part, free, self.reserve_bytes)
            for part, free in self.free_bytes().items()
            if self.reserve_bytes and free - incoming_bytes < self.reserve_bytes
        ]

    def find_shortage(self, *, incoming_bytes: int = 0) -> Shortage | None:
        """The disk of `list_shortages` that has the least left."""
        shortages = self.list_shortages(incoming_bytes=incoming_bytes)
        return min(shortages, key=lambda shortage: shortage.free_bytes, default=None)

    def check(self, *, incoming_bytes: int = 0) -> None:
        """Raises `StorageFull` if new work would use the reserve."""
        if (shortage := self.find_shortage(incoming_bytes=incoming_bytes)) is not None:
            remedy = "Delete jobs or uploads, or make room on it; then send this again."
            raise StorageFull(f"{shortage.explain()} {remedy}")
