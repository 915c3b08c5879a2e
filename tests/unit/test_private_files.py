"""The permissions of new files, and of files that are there already."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from phoenix.private_files import close_to_others, keep_files_private, make_private_folder, users_permissions

USERS_UMASK = 0o027


@pytest.fixture(autouse=True)
def users_umask() -> Iterator[None]:
    before = os.umask(USERS_UMASK)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_files_and_folders_are_closed_to_others(tmp_path: Path) -> None:
    keep_files_private()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert (mode_of(tmp_path / "folder"), mode_of(tmp_path / "file")) == (0o700, 0o600)


def test_a_file_that_the_user_asked_for_has_the_permissions_of_the_shell(tmp_path: Path) -> None:
    keep_files_private()
    keep_files_private()
    with users_permissions():
        (tmp_path / "asked for").touch()
    (tmp_path / "another").touch()
    assert (mode_of(tmp_path / "asked for"), mode_of(tmp_path / "another")) == (0o640, 0o600)


def test_a_folder_that_was_open_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o755)
    make_private_folder(folder)
    assert mode_of(folder) == 0o700


def test_a_file_that_was_open_is_closed_and_stays_as_executable_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(0o664)
    close_to_others(file)
    assert mode_of(file) == 0o600


def test_a_file_that_does_not_exist_is_no_error(tmp_path: Path) -> None:
    close_to_others(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
