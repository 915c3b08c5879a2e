"""The ballast of a SQLite database: when it is made, given up, and made again."""

from pathlib import Path

import pytest

from phoenix.db.ballast import Ballast

MB = 2**20
SIZE = 4 * MB


class Disk:
    """A disk with `free_bytes` apart from the ballast."""

    def __init__(self, folder: Path, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.ballast = Ballast(folder / "phoenix.db", size_bytes=SIZE, read_free_bytes=self.read)

    def read(self, _folder: Path) -> int:
        return self.free_bytes - self.held_bytes()

    def held_bytes(self) -> int:
        path = self.ballast.path
        return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize(("free_bytes", "held_bytes"), [(99 * MB, SIZE), (3 * MB, 2 * MB), (MB, 0), (0, 0)])
def test_it_is_as_large_as_the_disk_allows_and_leaves_a_little_free(
    tmp_path: Path, free_bytes: int, held_bytes: int
) -> None:
    disk = Disk(tmp_path, free_bytes)

    disk.ballast.refill()

    assert disk.held_bytes() == held_bytes


def test_it_grows_when_the_disk_has_more_space_and_stays_when_it_is_whole(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 3 * MB)
    disk.ballast.refill()
    disk.free_bytes = 99 * MB

    for _ in range(2):
        disk.ballast.refill()

    assert disk.held_bytes() == SIZE


@pytest.mark.parametrize(("left_bytes", "is_kept"), [(SIZE // 2, True), (SIZE // 2 - 1, False), (0, False)])
def test_a_deletion_takes_it_only_if_the_disk_has_little_else(tmp_path: Path, left_bytes: int, is_kept: bool) -> None:
    disk = Disk(tmp_path, 99 * MB)
    disk.ballast.refill()
    disk.free_bytes = left_bytes + SIZE

    disk.ballast.give_up_if_needed()

    assert disk.ballast.path.exists() is is_kept


def test_it_cannot_be_compressed_away(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 99 * MB)
    disk.ballast.refill()

    assert len(set(disk.ballast.path.read_bytes()[:1000])) > 100


def test_a_folder_that_refuses_it_has_none(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "missing" / "phoenix.db", read_free_bytes=lambda _folder: 99 * MB)

    ballast.refill()
    ballast.give_up()

    assert not ballast.path.exists()


@pytest.mark.parametrize(("free_bytes", "has_space"), [(0, False), (MB, True)])
def test_a_disk_without_a_megabyte_has_no_space(tmp_path: Path, free_bytes: int, has_space: bool) -> None:
    assert Disk(tmp_path, free_bytes).ballast.has_space() is has_space
