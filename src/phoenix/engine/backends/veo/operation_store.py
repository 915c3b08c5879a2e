"""Records running paid operations on disk, so that an attempt after a crash or a restart resumes its own."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from phoenix.engine.file_lock import try_lock

MAX_AGE_S = 20 * 3600
"""The service forgets an operation after two days; one this old is no longer polled."""


class OperationRecord:
    """The record of one request: its operation, if there is one."""

    def __init__(self, descriptor: int | None, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        self.operation = _read(descriptor) if descriptor is not None else None

    def write(self, operation: str) -> None:
        self.operation = operation
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, operation.encode(), 0)
            os.fsync(self._descriptor)

    def delete(self) -> None:
        """The operation is over."""
        self.operation = None
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)


class OperationStore:
    """One file per request in `folder`. While another render holds a request, a second record is kept in memory."""

    def __init__(self, folder: Path) -> None:
        """Raises `OSError` if the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for path in folder.iterdir():
            if _age_s(path.stat()) > MAX_AGE_S:
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, digest: str) -> Generator[OperationRecord]:
        """Locks the record of a request, for one render at a time across all processes of this machine.

        A record without an operation leaves no file; one with an operation stays until it is deleted.
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
    """Opens and locks the file; None if another render holds it."""
    descriptor = try_lock(path)
    if descriptor is not None and os.fstat(descriptor).st_nlink == 0:
        # Its last holder removed it between our open and our lock.
        os.close(descriptor)
        return _lock(path)
    return descriptor


def _read(descriptor: int) -> str | None:
    if _age_s(os.fstat(descriptor)) > MAX_AGE_S:
        return None
    return os.pread(descriptor, 4096, 0).decode() or None


def _age_s(found: os.stat_result) -> float:
    return time.time() - found.st_mtime
