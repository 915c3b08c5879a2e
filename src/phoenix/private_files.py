"""Files that only the account of this process can read. A file that the user asked for is an exception."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PRIVATE = 0o077
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class _Umask:
    """`given`: the umask that this process was started with; None if it is as strict as ours, or was not replaced."""

    given: int | None = None


def keep_files_private() -> None:
    """From now on, new files and folders of this process and of its children are closed to other accounts.

    Data are stored in the clear: prompts, videos, and secrets of webhooks.
    """
    given = os.umask(_PRIVATE)
    if given != _PRIVATE:
        _Umask.given = given


@contextmanager
def users_permissions() -> Generator[None]:
    """In the block, a new file gets the permissions that the user's shell gives: the user has named the file."""
    if _Umask.given is None:
        yield
        return
    before = os.umask(_Umask.given)
    try:
        yield
    finally:
        os.umask(before)


def close_to_others(path: Path) -> None:
    """Takes the permissions of other accounts from a file or folder that an earlier version may have made.

    Does nothing if it does not exist or belongs to another account.
    """
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)


def make_private_folder(path: Path) -> None:
    """Makes a folder that belongs to Phoenix alone, and closes it to others if it is there already."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    close_to_others(path)
