"""The reserve of free bytes: when new work is refused, and how often the disks are read."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from phoenix.errors import StorageFull
from phoenix.storage.reserve import CACHE_S, StorageReserve

FOLDERS = {"database": Path("/database"), "storage": Path("/storage")}


class Disks:
    """The free bytes of some disks, and a clock."""

    def __init__(self, free_bytes: Mapping[str, int]) -> None:
        self.free_bytes = dict(free_bytes)
        self.now_s = 0.0
        self.reads = 0

    def read(self, folder: Path) -> int:
        self.reads += 1
        return self.free_bytes[folder.name]

    def reserve(self, reserve_bytes: int = 100) -> StorageReserve:
        folders = {part: FOLDERS[part] for part in self.free_bytes}
        return StorageReserve(folders, reserve_bytes, read_free_bytes=self.read, clock_s=lambda: self.now_s)


def test_a_disk_with_the_whole_reserve_free_takes_new_work() -> None:
    Disks({"storage": 100, "database": 100}).reserve().check()


def test_a_disk_below_the_reserve_takes_none_and_the_remedy_is_named() -> None:
    reserve = Disks({"storage": 5_999_999}).reserve(20_000_000)
    with pytest.raises(StorageFull, match=r"storage has 5 MB free, and 20 MB are its reserve. Delete jobs"):
        reserve.check()


def test_a_file_that_would_use_the_reserve_is_refused_before_it_arrives() -> None:
    reserve = Disks({"storage": 150}).reserve()
    reserve.check(incoming_bytes=50)
    with pytest.raises(StorageFull):
        reserve.check(incoming_bytes=51)


def test_the_fullest_disk_is_named_first_and_all_are_listed() -> None:
    reserve = Disks({"storage": 50, "database": 10}).reserve()
    shortage = reserve.find_shortage()
    assert shortage is not None
    assert shortage.part == "database"
    assert {each.part for each in reserve.list_shortages()} == {"storage", "database"}


def test_a_reserve_of_0_refuses_nothing() -> None:
    assert Disks({"storage": 0}).reserve(0).find_shortage(incoming_bytes=1) is None


def test_without_disks_of_its_own_a_process_refuses_nothing() -> None:
    Disks({}).reserve().check()


def test_the_disks_are_read_once_a_second() -> None:
    disks = Disks({"storage": 0})
    reserve = disks.reserve()
    assert reserve.find_shortage() is not None
    disks.free_bytes["storage"] = 1000
    assert reserve.find_shortage() is not None
    disks.now_s = CACHE_S

    assert reserve.find_shortage() is None
    assert disks.reads == 2
