"""Which errors mean that a disk is full, and how much space is left."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from phoenix.disk_space import causes_of, in_megabytes, is_full_disk, read_free_bytes


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, os.strerror(number))


def caused_by(original: BaseException) -> BaseException:
    error = RuntimeError("it failed")
    error.__cause__ = original
    return error


@pytest.mark.parametrize("error", [full(), full(errno.EDQUOT), caused_by(full()), caused_by(caused_by(full()))])
def test_a_full_disk_is_found_behind_the_error_that_it_caused(error: BaseException) -> None:
    assert is_full_disk(error)


@pytest.mark.parametrize("error", [full(errno.EACCES), ValueError("No space left on device"), caused_by(OSError())])
def test_neither_another_error_number_nor_a_text_means_a_full_disk(error: BaseException) -> None:
    assert not is_full_disk(error)


def test_a_cause_that_was_hidden_does_not_count() -> None:
    error = RuntimeError("it failed")
    error.__context__, error.__suppress_context__ = full(), True
    assert list(causes_of(error)) == [error]


def test_a_folder_that_does_not_exist_yet_has_the_space_of_its_nearest_ancestor(tmp_path: Path) -> None:
    total = shutil.disk_usage(tmp_path).total
    assert 0 <= read_free_bytes(tmp_path / "not" / "yet") <= total


def test_a_size_for_people_is_in_whole_megabytes() -> None:
    assert in_megabytes(1_999_999) == "1 MB"
