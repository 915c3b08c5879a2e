"""The rate of a video comes from the times of its frames."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.media.probe_child.frame_rate import find_rate, is_regular, most_frequent

MILLISECOND = Fraction(1, 1000)
NTSC = Fraction(30000, 1001)
RATES = st.sampled_from([Fraction(7), Fraction(16), Fraction(25, 2), Fraction(24000, 1001), NTSC, Fraction(60)])


def times_at(rate: Fraction, count: int) -> list[int]:
    return [round(index / rate / MILLISECOND) for index in range(count)]


@given(RATES, st.integers(2, 400))
def test_a_stated_rate_is_used_if_the_frames_agree_with_it(rate: Fraction, count: int) -> None:
    assert find_rate(times_at(rate, count), MILLISECOND, [None, rate]) == (rate, True)


@pytest.mark.parametrize("rate", [Fraction(7), Fraction(30)])
def test_frames_at_even_distances_need_no_stated_rate(rate: Fraction) -> None:
    found, is_even = find_rate(times_at(rate, 301), MILLISECOND, [Fraction(12)])

    assert is_even
    assert float(found) == pytest.approx(float(rate), rel=0.001)


@pytest.mark.parametrize(
    ("distances_ms", "rate"),
    [
        # Frames are left out where nothing moves.
        ([33, 34, 33, 200, 33, 100, 33, 33], Fraction(30)),
        # The clock of a phone is not exact.
        ([31, 35, 33, 35, 32, 33, 34, 33], Fraction(30)),
        ([41, 42, 42, 42, 41, 42, 83, 42, 42, 42], Fraction(24000, 1001)),
        ([2000, 1000, 5000], Fraction(10)),
        ([1, 500, 1, 1], Fraction(60)),
    ],
)
def test_uneven_frames_have_the_standard_rate_of_most_distances(distances_ms: list[int], rate: Fraction) -> None:
    times = [sum(distances_ms[:index]) for index in range(len(distances_ms) + 1)]

    assert find_rate(times, MILLISECOND, [Fraction(85, 6)]) == (rate, False)


@given(RATES, st.integers(3, 100), st.data())
def test_a_missing_frame_is_noticed(rate: Fraction, count: int, data: st.DataObject) -> None:
    times = times_at(rate, count)
    del times[data.draw(st.integers(1, count - 2))]

    assert not is_regular(times, MILLISECOND, rate)


def test_one_frame_agrees_with_any_stated_rate() -> None:
    assert find_rate([700], MILLISECOND, [Fraction(16)]) == (Fraction(16), True)


def test_one_frame_without_a_stated_rate_has_a_standard_rate() -> None:
    assert find_rate([700], MILLISECOND, [None]) == (Fraction(10), False)


def test_frames_at_one_time_have_no_distance() -> None:
    assert most_frequent([5, 5, 5], MILLISECOND) == 0
    assert most_frequent([0, 33, 66, 100, 133], MILLISECOND) == 33 * MILLISECOND
