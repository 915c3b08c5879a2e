"""How far a clip and its job are said to be, and how long they will take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.worker.progress import Advance, Share


def at(step: int, *, steps: int = 10, encoded: float = 0, elapsed_s: float = 9) -> Advance:
    return Advance(step=step, steps=steps, encoded_share=encoded, elapsed_s=elapsed_s)


def test_steps_and_encoding_share_a_clip() -> None:
    assert [at(0).progress, at(5).progress, at(10).progress, at(10, encoded=1).progress] == [0, 0.45, 0.9, 1]


def test_time_left_follows_the_pace_so_far() -> None:
    assert at(5, elapsed_s=9).eta_s(None) == pytest.approx(11)
    assert at(10, encoded=1).eta_s(None) == 0


def test_before_the_first_step_only_what_was_learned_is_known() -> None:
    assert at(0).eta_s(None) is None
    assert at(0, elapsed_s=4).eta_s(learned_s=30) == 26
    assert Share([1, 1], 0).job_eta_s(None, 0, {}) is None


@given(st.lists(st.integers(0, 20), min_size=1), st.floats(0, 1))
def test_progress_never_goes_back_while_steps_rise(steps: list[int], encoded: float) -> None:
    values = [at(step, steps=20).progress for step in sorted(steps)] + [at(20, steps=20, encoded=encoded).progress]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


def test_clips_count_by_their_weight() -> None:
    assert Share([3, 1], 0).job_progress(1.0, {}) == pytest.approx(0.95 * 0.75)


def test_progress_of_other_clips_is_added() -> None:
    assert Share([1, 1], 0).job_progress(0.5, {1: 0.5}) == pytest.approx(0.95 * 0.5)


def test_an_old_entry_of_the_clip_in_hand_does_not_count() -> None:
    assert Share([1, 1], 0).job_progress(0.1, {0: 0.9}) == pytest.approx(0.95 * 0.05)


def test_clips_that_are_rendered_at_once_share_the_time_left() -> None:
    alone = Share([1, 1], 0).job_eta_s(11, 0.45, {})
    together = Share([1, 1], 0).job_eta_s(11, 0.45, {1: 0.45})
    assert alone == pytest.approx(31)
    assert together == pytest.approx(11)
