"""Allows one `phoenix up` per data folder. The kernel releases the lock when its holder ends in any way."""

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from phoenix.errors import PhoenixError

LOCK_NAME = "up.lock"


@dataclass(frozen=True)
class Holder:
    """The process that holds the folder, and its URL once it is ready."""

    url: str | None = None
    pid: int = field(default_factory=os.getpid)


class AlreadyUp(PhoenixError):
    """Another `phoenix up` holds this data folder."""


class FolderLock:
    """A held lock. Its file describes the holder to other processes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_holder(self, holder: Holder) -> None:
        """Publishes who holds the folder."""
        text = json.dumps(asdict(holder)).encode()
        # One write, then a truncation: a reader in between sees a whole object, perhaps with an old rest behind it.
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))


@contextmanager
def lock_folder(data_dir: Path) -> Generator[FolderLock]:
    """Holds the lock during the block. Creates a missing folder. Raises `AlreadyUp` if another process holds it."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(fd, fcntl.LOCK_EX):
            raise AlreadyUp(_refusal(data_dir, _read(fd)))
        lock = FolderLock(fd)
        lock.write_holder(Holder())
        yield lock
    finally:
        os.close(fd)


def find_holder(data_dir: Path) -> Holder | None:
    """The process that holds the folder now, or None."""
    try:
        fd = os.open(data_dir / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _try_lock(fd, fcntl.LOCK_SH) else _read(fd)
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(fd: int) -> Holder | None:
    try:
        found, _ = json.JSONDecoder().raw_decode(os.pread(fd, 4096, 0).decode())
        return Holder(pid=int(found["pid"]), url=found["url"])
    except (ValueError, KeyError, TypeError):
        return None


def _refusal(data_dir: Path, holder: Holder | None) -> str:
    who = f" (process {holder.pid})" if holder else ""
    where = f", at {holder.url}" if holder and holder.url else ""
    return f"Another `phoenix up`{who} runs on {data_dir.absolute()}{where}. Set PHOENIX_DATA_DIR for a second one."
