"""Estimates of the time that is left."""

from itertools import pairwise

import pytest

from phoenix.jobs.scheduling.durations import DurationPerWeight, DurationStats, Shape
from phoenix.jobs.scheduling.eta import Countdown, assembly_duration_s, blend_estimate, parallel_work_s, round_estimate

SHAPE = Shape("wan", 832, 480, 81, 20)


@pytest.mark.parametrize(("seconds", "expected"), [(3.4, 3), (33, 35), (100, 105), (1234, 1260), (0, 0)])
def test_an_estimate_is_no_finer_than_it_can_be(seconds: float, expected: float) -> None:
    assert round_estimate(seconds) == expected


def test_a_countdown_does_not_jump() -> None:
    countdown = Countdown()
    shown = [countdown.update(estimate, now_s=second) for second, estimate in enumerate([50, 20, 90, 48, 10, 47])]

    assert all(abs(after - before) <= 15 for before, after in pairwise(value for value in shown if value is not None))


def test_a_countdown_counts_down_by_itself() -> None:
    countdown = Countdown()
    countdown.update(10, now_s=0)

    assert countdown.update(6, now_s=4) == 6


def test_an_unknown_estimate_stays_none() -> None:
    assert Countdown().update(None, now_s=0) is None
    assert blend_estimate(None, elapsed_s=5, progress=0) is None


def test_before_the_first_step_the_learned_duration_counts() -> None:
    assert blend_estimate(60, elapsed_s=5, progress=0) == 55


def test_near_the_end_the_rate_so_far_counts() -> None:
    assert blend_estimate(1000, elapsed_s=99, progress=0.99) == pytest.approx(1.09, abs=0.01)


def test_a_shape_that_is_new_is_estimated_from_its_model() -> None:
    durations = DurationStats({SHAPE: DurationPerWeight(2.0)}, {"wan": DurationPerWeight(3.0)})

    assert durations.estimate_clip_s(SHAPE, weight=10) == 20
    assert durations.estimate_clip_s(Shape("wan", 1, 1, 1, 1), weight=10) == 30
    assert durations.estimate_clip_s(Shape("other", 1, 1, 1, 1), weight=10) is None


def test_clips_that_are_rendered_at_once_share_the_time_left() -> None:
    assert parallel_work_s({0: 10}, {1: 20, 2: 30}) == 60
    assert parallel_work_s({0: 10, 1: 20}, {2: 20, 3: 30}) == 40


def test_all_clips_take_no_less_than_the_longest() -> None:
    assert parallel_work_s({0: 1, 1: 2}, {2: 30}) == 30
    assert parallel_work_s({}, {}) == 0


def test_clips_that_wait_for_each_other_are_not_rendered_in_parallel() -> None:
    running, waiting = {0: 10, 3: 10}, {1: 20, 2: 30}
    assert parallel_work_s(running, waiting) == 35
    assert parallel_work_s(running, waiting, [(), (0,), (1,), ()]) == 10 + 20 + 30


def test_clips_that_are_done_keep_no_clip_waiting() -> None:
    assert parallel_work_s({1: 20}, {2: 30}, [(), (0,), ()]) == 50
    assert parallel_work_s({1: 20, 2: 30}, {}, [(), (0,), ()]) == 30


def test_an_assembly_takes_its_usual_share_until_one_has_been_learned() -> None:
    assert assembly_duration_s(None, clips_s=95) == pytest.approx(5)
    assert assembly_duration_s(2, clips_s=95) == 2
