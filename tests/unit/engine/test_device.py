"""The device of a process, on a machine with or without an accelerator."""

import pytest

from phoenix.engine.device import (
    NoSuchDevice,
    choose_allocator,
    device_memory,
    is_broken,
    keep_compiled_code,
    pick_device,
    pick_devices,
    release_memory,
    smallest_memory_bytes,
    worker_memory,
)


def test_the_cpu_is_always_there():
    assert pick_device("cpu") == "cpu"


def test_auto_is_a_device_that_can_be_named_in_full():
    assert pick_device(pick_device("auto")) == pick_device("auto")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cuda:x", "cuda:-1"])
def test_an_error_for_a_missing_device_lists_the_devices(name):
    with pytest.raises(NoSuchDevice, match=rf"no device '{name}' here; there are: cpu"):
        pick_device(name)


def test_a_worker_may_have_several_devices():
    assert pick_devices("cpu") == ("cpu",)
    assert pick_devices("cpu+cpu") == ("cpu", "cpu")
    with pytest.raises(NoSuchDevice, match="no device 'cuda:98'"):
        pick_devices("cuda:98+cuda:99")


def test_a_cpu_has_no_device_memory():
    assert device_memory("cpu") is None
    assert worker_memory(["cpu", "cpu"]) is None
    assert smallest_memory_bytes(["cpu", "cpu"]) is None


def test_the_allocator_has_expandable_segments_by_default():
    environment: dict[str, str] = {}
    choose_allocator(environment)
    assert environment == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"])
def test_an_allocator_in_the_environment_wins_by_each_of_its_names(name):
    environment = {name: "max_split_size_mb:512"}
    choose_allocator(environment)
    assert environment == {name: "max_split_size_mb:512"}


def test_compiled_code_is_kept_in_the_folder(tmp_path):
    environment: dict[str, str] = {}
    keep_compiled_code(environment, tmp_path / "compiled")
    assert environment == {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    keep_compiled_code(environment, tmp_path / "other")
    assert environment == {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}


def test_a_folder_that_cannot_be_made_leaves_compiled_code_where_torch_puts_it(tmp_path):
    (tmp_path / "file").write_text("")
    environment: dict[str, str] = {}
    keep_compiled_code(environment, tmp_path / "file" / "compiled")
    assert environment == {}


def test_a_device_that_cannot_be_synchronized_is_broken():
    assert is_broken("cuda:99")
    assert not is_broken("cpu")


def test_memory_can_be_released_where_there_is_no_device():
    pick_device("auto")
    release_memory()
