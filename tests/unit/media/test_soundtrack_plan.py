"""The used part of a sound, and the corrections of its loudness."""

from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from phoenix.contract import SoundtrackRequest
from phoenix.errors import TaskFailed
from phoenix.media.commands.sound import Loudness
from phoenix.media.soundtrack import plan_clip_gain_db, plan_shape, plan_trim_db

SECONDS = st.floats(0.01, 1000)


def wish(**fields: float) -> SoundtrackRequest:
    return SoundtrackRequest.model_validate({"url": "https://sounds.example/a.mp3", **fields})


def loudness(integrated_lufs: float, true_peak_dbtp: float) -> Loudness:
    return Loudness(integrated_lufs, true_peak_dbtp, range_lu=5, threshold_lufs=-30)


def test_without_a_requested_length_the_rest_of_the_sound_is_used() -> None:
    shape = plan_shape(wish(start_s=2), source_s=10, duration_s=None)

    assert (shape.start_s, shape.sound_s, shape.duration_s) == (2, 8, 8)


@given(SECONDS, st.floats(0, 500), SECONDS, st.floats(0, 60), st.floats(0, 60))
def test_a_shape_stays_within_the_sound_and_the_picture(
    source_s: float, start_s: float, duration_s: float, fade_in_s: float, fade_out_s: float
) -> None:
    assume(start_s < source_s)

    shape = plan_shape(wish(start_s=start_s, fade_in_s=fade_in_s, fade_out_s=fade_out_s), source_s, duration_s)

    assert shape.duration_s == duration_s
    assert 0 < shape.sound_s <= min(duration_s, source_s - start_s)
    assert shape.fade_in_s <= shape.sound_s
    assert shape.fade_out_s <= shape.sound_s


@pytest.mark.parametrize("start_s", [10, 10.1, 36_000])
def test_nothing_is_left_after_the_end(start_s: float) -> None:
    with pytest.raises(TaskFailed, match="the sound ends at 10"):
        plan_shape(wish(start_s=start_s), source_s=10, duration_s=5)


def test_a_result_within_the_tolerance_is_not_corrected() -> None:
    assert plan_trim_db(loudness(-16.2, -5), target_lufs=-16) == 0


def test_a_quiet_result_is_made_louder_as_far_as_its_peak_allows() -> None:
    assert plan_trim_db(loudness(-18, -10), target_lufs=-16) == pytest.approx(2)
    assert 0 < plan_trim_db(loudness(-18, -3), target_lufs=-16) < 1.5


def test_a_peak_over_the_limit_is_brought_down_even_if_the_sound_is_quiet() -> None:
    assert plan_trim_db(loudness(-18, -1), target_lufs=-16) < -0.5


def test_silence_is_not_amplified() -> None:
    assert plan_trim_db(loudness(float("-inf"), float("-inf")), target_lufs=-16) == 0


@given(st.floats(-60, 3), st.floats(-60, 6), st.floats(-40, -5))
def test_no_correction_pushes_a_peak_over_the_limit(integrated: float, peak: float, target: float) -> None:
    assert peak + plan_trim_db(loudness(integrated, peak), target) <= max(-1.5, min(peak, -1.5)) + 1e-9


@pytest.mark.parametrize(
    ("clips_lufs", "music_lufs", "clip_sound_db", "gain_db"),
    [(-20, -16, -12, -8), (-40, -16, -12, 12), (-20, -16, 6, 10), (-60, -16, -12, 20), (-20, -inf, -12, -8)],
)
def test_the_sound_of_clips_gets_its_distance_from_the_soundtrack_and_noise_no_large_gain(
    clips_lufs: float, music_lufs: float, clip_sound_db: float, gain_db: float
) -> None:
    request = wish(clip_sound_db=clip_sound_db)

    assert plan_clip_gain_db(loudness(clips_lufs, -3), loudness(music_lufs, -3), request) == gain_db
