"""The progress of a clip and of its job, and their remaining time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.clock import utc_now
from phoenix.contract import ClipProgress
from phoenix.jobs.scheduling.durations import DurationPerWeight
from phoenix.jobs.scheduling.eta import Countdown
from phoenix.worker.progress_publisher import ClipShare
from phoenix.worker.render_observer import RenderProgress

# Ten seconds of steps, and twenty until the clip is stored.
DURATION = DurationPerWeight(total_s=30, finish_s=20)


def at(
    step: int, *, steps: int = 10, stepping_s: float = 5, finishing_s: float = 0, encoded: float = 0
) -> RenderProgress:
    return RenderProgress(
        step=step,
        steps=steps,
        encoded_share=encoded,
        stepping_s=stepping_s,
        finishing_s=finishing_s,
        encoding_s=finishing_s,
    )


def published(progress: float, *, index: int = 1, eta_s: float | None = None) -> ClipProgress:
    return ClipProgress(
        job_id="job_1",
        seq=1,
        at=utc_now(),
        clip_index=index,
        attempt=1,
        step=1,
        steps=10,
        progress=progress,
        eta_s=eta_s,
        job_progress=0,
    )


def test_steps_and_encoding_share_a_clip() -> None:
    assert [at(0).progress, at(5).progress, at(10).progress, at(10, encoded=1).progress] == [0, 0.45, 0.9, 1]


def test_what_was_never_seen_to_its_end_has_no_time_left() -> None:
    assert at(5).eta_s(None, weight=1) is None
    assert at(10, finishing_s=3, encoded=0.5).eta_s(None, weight=1) is None
    assert ClipShare([1, 1], 0).job_eta_s(None, {}) is None


def test_before_the_first_step_what_was_learned_is_left() -> None:
    assert at(0, stepping_s=4).eta_s(DURATION, weight=1) == 26
    assert at(0, stepping_s=4).eta_s(DURATION, weight=2) == 56


def test_the_time_left_of_the_steps_follows_the_speed_so_far() -> None:
    on_time = at(5, stepping_s=5).eta_s(DURATION, weight=1)
    late = at(5, stepping_s=15).eta_s(DURATION, weight=1)

    assert on_time == pytest.approx(5 + 20)
    assert late == pytest.approx((15 + 5) / 2 + 20)


def test_what_follows_the_last_step_is_still_to_come() -> None:
    assert at(10, stepping_s=10).eta_s(DURATION, weight=1) == 20
    assert at(10, stepping_s=10, finishing_s=15).eta_s(DURATION, weight=1) == 5


def test_an_encoder_that_is_slower_than_before_is_believed() -> None:
    assert at(10, finishing_s=20, encoded=0.5).eta_s(DURATION, weight=1) == 20


def test_the_time_left_of_a_clip_that_takes_the_learned_duration_falls_evenly_to_nothing() -> None:
    countdown = Countdown()
    stepping = [at(second, stepping_s=second) for second in range(11)]
    finishing = [at(10, stepping_s=10, finishing_s=second, encoded=second / 20) for second in range(1, 21)]
    left = [
        countdown.update(state.eta_s(DURATION, weight=1), now_s=second)
        for second, state in enumerate([*stepping, *finishing])
    ]

    assert (left[0], left[-1]) == (30, 0)
    assert all(
        after is not None and before is not None and 0 <= before - after <= 5 for before, after in pairwise(left)
    )


@given(st.lists(st.integers(0, 20), min_size=1), st.floats(0, 1))
def test_progress_never_goes_back_while_steps_rise(steps: list[int], encoded: float) -> None:
    values = [at(step, steps=20).progress for step in sorted(steps)] + [at(20, steps=20, encoded=encoded).progress]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


def test_clips_count_by_their_weight() -> None:
    assert ClipShare([3, 1], 0).job_progress(1.0, {}) == pytest.approx(0.95 * 0.75)


def test_progress_of_other_clips_is_added() -> None:
    assert ClipShare([1, 1], 0).job_progress(0.5, {1: published(0.5)}) == pytest.approx(0.95 * 0.5)


def test_clips_that_were_done_before_count_though_nothing_is_published_of_them() -> None:
    share = ClipShare([1, 2, 1], 2, DURATION, assembly_s=7, done={0})
    assert share.job_progress(0.5, {}) == pytest.approx(0.95 * 1.5 / 4)
    assert share.job_progress(0.5, {0: published(0.9, index=0)}) == pytest.approx(0.95 * 1.5 / 4)
    assert share.job_eta_s(10, {}) == 10 + 60 + 7


def test_an_old_entry_of_the_clip_in_hand_does_not_count() -> None:
    assert ClipShare([1, 1], 0).job_progress(0.1, {0: published(0.9, index=0)}) == pytest.approx(0.95 * 0.05)
    assert ClipShare([1, 1], 0, DURATION, assembly_s=2).job_eta_s(10, {0: published(0.9, index=0)}) == 10 + 30 + 2


def test_a_job_s_time_counts_the_clips_that_wait_and_the_assembly() -> None:
    assert ClipShare([1, 2, 1], 0, DURATION, assembly_s=7).job_eta_s(10, {}) == 10 + 60 + 30 + 7


def test_clips_that_are_rendered_at_once_share_the_time_left() -> None:
    share = ClipShare([1, 1, 1], 0, DURATION, assembly_s=0)

    assert share.job_eta_s(10, {1: published(0.5, eta_s=20)}) == (10 + 20 + 30) / 2
    assert share.job_eta_s(10, {1: published(0.5)}) == pytest.approx(30)


def test_a_job_s_time_counts_the_chain_that_this_clip_begins() -> None:
    share = ClipShare([1, 1, 1], 0, DURATION, assembly_s=0, prerequisites=[(), (0,), ()])

    assert share.job_eta_s(30, {2: published(0.5, eta_s=5)}) == 30 + 30


def test_a_clip_that_is_done_takes_no_more_time() -> None:
    assert ClipShare([1, 1], 0, DURATION, assembly_s=0).job_eta_s(10, {1: published(1.0, eta_s=3)}) == 10
