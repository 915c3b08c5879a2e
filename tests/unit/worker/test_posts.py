"""Which processes a supervisor starts, and what each may take of its device."""

from phoenix.worker.supervisor import Post, posts_for


def test_every_device_gets_as_many_processes_which_share_its_memory() -> None:
    posts = posts_for("gpu", ["cuda:0", "cuda:1"], 2)
    assert posts == [Post("gpu", "cuda:0", 2)] * 2 + [Post("gpu", "cuda:1", 2)] * 2


def test_devices_may_be_named_in_one_word() -> None:
    assert posts_for("gpu", ["cuda:0, cuda:1"]) == [Post("gpu", "cuda:0"), Post("gpu", "cuda:1")]


def test_media_needs_no_device() -> None:
    assert posts_for("media", ["cuda:0", "cuda:1"], 4) == [Post("media", "cpu")]
