"""Which processes a supervisor starts, and what each may take of its device."""

from pathlib import Path

from phoenix.settings import Settings
from phoenix.worker.supervisor import Post, posts_for, settings_at
from phoenix.worker.workshop import open_slots


def test_every_device_gets_as_many_processes_which_share_its_memory() -> None:
    posts = posts_for("gpu", ["cuda:0", "cuda:1"], 2)
    assert posts == [Post("gpu", "cuda:0", 2)] * 2 + [Post("gpu", "cuda:1", 2)] * 2


def test_devices_may_be_named_in_one_word() -> None:
    assert posts_for("gpu", ["cuda:0, cuda:1"]) == [Post("gpu", "cuda:0"), Post("gpu", "cuda:1")]


def test_media_needs_no_device() -> None:
    assert posts_for("media", ["cuda:0", "cuda:1"], 4) == [Post("media", "cpu")]


def test_processes_that_share_a_device_have_equal_parts_of_it_and_take_turns(tmp_path: Path) -> None:
    at_post = settings_at(Post("gpu", "cuda:0", 2), Settings(), tmp_path)
    assert (at_post.engine.device_share, at_post.worker.slots_dir) == (0.5, tmp_path)


def test_a_process_that_has_its_device_to_itself_is_left_as_it_is(tmp_path: Path) -> None:
    assert settings_at(Post("gpu", "cuda:0"), Settings(), tmp_path) == Settings()


def test_processes_on_a_cpu_take_no_turns(tmp_path: Path) -> None:
    worker = settings_at(Post("gpu", "cpu", 2), Settings(), tmp_path).worker
    assert not open_slots(worker, "cpu").is_shared
    assert open_slots(worker, "cuda:0").is_shared
