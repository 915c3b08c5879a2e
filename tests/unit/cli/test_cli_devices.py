"""The number of GPUs for which a supervisor starts workers."""

import pytest

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
