"""The number of GPUs for which a supervisor starts workers."""

import pytest
import typer

from phoenix.cli.options import check_device_names
from phoenix.cli.serving import count_visible


@pytest.mark.parametrize(
    ("found", "visible", "count"),
    [
        (4, None, 4),
        (4, "0,2", 2),
        (4, "", 0),
        (4, "-1", 0),
        (4, "0,-1,2", 1),
        (1, "0,1", 1),
        (0, "0", 0),
        (2, "GPU-x", 1),
    ],
)
def test_cuda_visible_devices_limits_the_gpus_in_use(found: int, visible: str | None, count: int):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert count_visible(found, environment) == count


def test_one_worker_may_be_given_several_devices():
    names = ["auto", "cpu", "cpu+cpu", "cuda:0", "cuda:0+cuda:1", "cuda:0+cuda:1+cuda:3"]
    assert check_device_names(names) == names


@pytest.mark.parametrize("name", ["cuda:0+", "+cuda:0", "cuda:0 cuda:1", "auto+cuda:1", "cpu+cuda:0", "cuda:x"])
def test_a_device_that_cannot_be_is_refused_before_a_worker_starts(name: str):
    with pytest.raises(typer.BadParameter, match="give cpu, cuda:N, auto, or cuda:0"):
        check_device_names([name])
