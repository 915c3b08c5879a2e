"""Naming the device of a process, on a machine that has no accelerator or whatever it has."""

import pytest

from phoenix.engine.device import (
    NoSuchDevice,
    choose_allocator,
    device_memory,
    is_broken,
    pick_device,
    release_memory,
)


def test_the_cpu_is_always_there():
    assert pick_device("cpu") == "cpu"


def test_auto_is_a_device_that_can_be_named_in_full():
    assert pick_device(pick_device("auto")) == pick_device("auto")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cuda:x", "cuda:-1"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(NoSuchDevice, match=rf"no device '{name}' here; there are: cpu"):
        pick_device(name)


def test_the_memory_of_a_cpu_is_not_a_devices():
    assert device_memory("cpu") is None


def test_the_allocator_keeps_no_fixed_segments_unless_somebody_wants_them():
    environment: dict[str, str] = {}
    choose_allocator(environment)
    assert environment == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"])
def test_an_allocator_that_somebody_chose_is_kept_by_whichever_name(name):
    environment = {name: "max_split_size_mb:512"}
    choose_allocator(environment)
    assert environment == {name: "max_split_size_mb:512"}


def test_a_device_that_does_not_answer_is_broken():
    assert is_broken("cuda:99")
    assert not is_broken("cpu")


def test_memory_can_be_released_where_there_is_no_device():
    pick_device("auto")
    release_memory()
