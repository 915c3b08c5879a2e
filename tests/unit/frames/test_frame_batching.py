"""When a batch begins, how large it is, and which engine gets it."""

import pytest

from phoenix.frames.batching import BatchWindow, EngineLoad, choose_engine

WINDOW = BatchWindow(most=8, window_s=0.01)


@pytest.mark.parametrize(
    ("waiting", "oldest_s", "wait_s"),
    [
        pytest.param(1, 0.0, 0.01, id="the first request waits for the whole window"),
        pytest.param(7, 0.004, 0.006, id="later requests do not begin the window anew"),
        pytest.param(8, 0.0, 0.0, id="a full batch does not wait"),
        pytest.param(1, 0.5, 0.0, id="a request that waited for an engine does not wait again"),
    ],
)
def test_a_batch_waits_until_it_is_full_or_its_window_is_over(waiting: int, oldest_s: float, wait_s: float) -> None:
    assert WINDOW.find_wait_s(waiting, oldest_s) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("waiting", "idle", "size"),
    [
        pytest.param(5, 1, 5, id="one idle engine gets all"),
        pytest.param(20, 1, 8, id="but not more than a batch"),
        pytest.param(5, 2, 3, id="two idle engines share"),
        pytest.param(1, 4, 1, id="never none"),
    ],
)
def test_idle_engines_share_what_waits(waiting: int, idle: int, size: int) -> None:
    assert WINDOW.choose_size(waiting, idle) == size


def test_the_device_with_fewer_frames_under_way_gets_the_next_batch() -> None:
    assert choose_engine([EngineLoad(device_frames=8, frames_made=0), EngineLoad(device_frames=2, frames_made=99)]) == 1


def test_on_equal_devices_the_least_used_engine_gets_the_next_batch() -> None:
    assert choose_engine([EngineLoad(0, 7), EngineLoad(0, 5), EngineLoad(0, 6)]) == 1
