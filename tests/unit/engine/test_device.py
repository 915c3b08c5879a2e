"""Naming the device of a process, on a machine that has no accelerator or whatever it has."""

import pytest

from phoenix.engine.device import NoSuchDevice, device_memory, pick_device


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
