"""Records running paid operations on disk, so that an attempt after a crash or a restart resumes its operation."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from phoenix.engine.file_lock import try_lock

MAX_AGE_S = 20 * 3600
"""Age after which an operation is not polled. The service forgets an operation after two days."""


class OperationRecord:
    """The record of one request. `operation` is the name of its operation, or None."""

    def __init__(self, descriptor: int | None, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        self.operation = _read(descriptor) if descriptor is not None else None

    def write(self, operation: str) -> None:
        """Records the operation of the request, and flushes it to disk."""
        self.operation = operation
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, operation.encode(), 0)
            os.fsync(self._descriptor)

    def delete(self) -> None:
        """Deletes the record of an operation that has ended."""
        self.operation = None
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)


class OperationStore:
    """One file per request in `folder`.

    While another render has the lock of a request, a second record is in memory.
    """

    def __init__(self, folder: Path) -> None:
        """Creates the folder. Raises `OSError` if that fails."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for path in folder.iterdir():
            if _age_s(path.stat()) > MAX_AGE_S:
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, digest: str) -> Generator[OperationRecord]:
        """Locks the record of a request for the block, across all processes of this machine.

        A record without an operation leaves no file. A record with an operation stays until it is deleted.
        """
        path = self._folder / digest
        descriptor = _lock(path)
        record = OperationRecord(descriptor, path)
        try:
            yield record
        finally:
            if record.operation is None:
                record.delete()
            if descriptor is not None:
                os.close(descriptor)


def _lock(path: Path) -> int | None:
    """Opens and locks the file. Returns None if another render has the lock."""
    descriptor = try_lock(path)
    if descriptor is not None and os.fstat(descriptor).st_nlink == 0:
        # The previous render deleted the file between our open and our lock.
        os.close(descriptor)
        return _lock(path)
    return descriptor


def _read(descriptor: int) -> str | None:
    if _age_s(os.fstat(descriptor)) > MAX_AGE_S:
        return None
    return os.pread(descriptor, 4096, 0).decode() or None


def _age_s(found: os.stat_result) -> float:
    return time.time() - found.st_mtime
