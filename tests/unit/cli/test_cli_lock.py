"""One holder per data folder."""

from pathlib import Path

import pytest

from phoenix.cli.embedded.lock import AlreadyUp, Holder, find_holder, lock_folder


def test_a_held_folder_is_refused_to_another(tmp_path: Path):
    with lock_folder(tmp_path), pytest.raises(AlreadyUp, match="PHOENIX_DATA_DIR"), lock_folder(tmp_path):
        pass


def test_a_folder_is_free_again_after_its_holder(tmp_path: Path):
    with lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass


def test_others_can_read_where_the_holder_serves(tmp_path: Path):
    with lock_folder(tmp_path) as lock:
        lock.write_holder(Holder(url="http://127.0.0.1:1234"))
        assert find_holder(tmp_path) == Holder(url="http://127.0.0.1:1234")


def test_what_an_ended_holder_wrote_is_not_believed(tmp_path: Path):
    with lock_folder(tmp_path) as lock:
        lock.write_holder(Holder(url="http://127.0.0.1:1234"))
    assert find_holder(tmp_path) is None


def test_a_new_holder_does_not_repeat_what_the_last_one_wrote(tmp_path: Path):
    with lock_folder(tmp_path) as lock:
        lock.write_holder(Holder(url="http://127.0.0.1:1234"))
    with lock_folder(tmp_path):
        assert find_holder(tmp_path) == Holder(url=None)


def test_an_unreadable_lock_file_is_still_a_lock(tmp_path: Path):
    (tmp_path / "up.lock").write_text("not json")
    with lock_folder(tmp_path):
        (tmp_path / "up.lock").write_text("{")
        with pytest.raises(AlreadyUp), lock_folder(tmp_path):
            pass


def test_a_folder_that_is_not_there_has_no_holder(tmp_path: Path):
    assert find_holder(tmp_path / "absent") is None
