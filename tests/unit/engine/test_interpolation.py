"""Interpolators of real ONNX files: their forms, their times, and the frames of a clip at another rate."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.tiny_onnx import FORMS, write_interpolator, write_upscaler
from phoenix.catalog.postprocessors import InterpolatorSpec
from phoenix.engine.postprocessing.interpolation import Interpolator, interpolate
from phoenix.engine.postprocessing.upscaling import Pixels
from phoenix.errors import FailureCode, Stage, TaskFailed

BLACK, GREY = (np.full((20, 36, 3), value, np.uint8) for value in (0, 200))


def no_check() -> None:
    pass


def open_interpolator(source: Path, **fields: Any) -> Interpolator:
    given = {"id": "mid", "title": "Mid", "source": str(source), "multiple": 32} | fields
    return Interpolator(InterpolatorSpec.model_validate(given), str(source), device="cpu")


def refusal(source: Path, **fields: Any) -> str:
    with pytest.raises(TaskFailed) as refused:
        open_interpolator(source, **fields)
    assert (refused.value.code, refused.value.stage) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD)
    return refused.value.detail


@pytest.mark.parametrize(("form", "any_time"), FORMS.items())
@pytest.mark.parametrize("time", [Fraction(1, 2), Fraction(1, 4), Fraction(7, 8)])
def test_every_form_makes_the_frame_at_the_time(tmp_path, form, any_time, time):
    interpolator = open_interpolator(write_interpolator(tmp_path / "mid.onnx", form), any_time=any_time)
    made = interpolator.make_between(BLACK, GREY, time, no_check)
    assert made.shape == BLACK.shape
    assert set(np.unique(made)) == {round(200 * time)}


@pytest.mark.parametrize(("form", "any_time"), [("joined with time", False), ("apart without time", True)])
def test_an_entry_that_is_wrong_about_the_time_is_refused(tmp_path, form, any_time):
    detail = refusal(write_interpolator(tmp_path / "mid.onnx", form), any_time=any_time)
    assert detail.endswith(f"set any_time = {str(not any_time).lower()}")


def test_an_upscaler_is_no_interpolator(tmp_path):
    detail = refusal(write_upscaler(tmp_path / "x2.onnx"))
    assert "its inputs are input: float 1x3x?x?; an interpolator has one input of 6 channels" in detail


def test_a_model_for_another_size_is_refused_before_a_clip_is_rendered(tmp_path):
    interpolator = open_interpolator(write_interpolator(tmp_path / "mid.onnx", shape=(32, 64)))
    interpolator.check_fit(64, 32)
    with pytest.raises(TaskFailed, match="it takes frames of 64x32 pixels, and the clip has 36x20"):
        interpolator.check_fit(36, 20)


def times_at(made_fps: int, shown_fps: int, count: int) -> list[float]:
    """The time of each output frame, of a clip whose frame i is filled with 10 * i."""

    def between(first: Pixels, second: Pixels, time: Fraction) -> Pixels:
        return (first + (second - first) * float(time)).astype(first.dtype)

    frames: list[Pixels] = [np.full((1, 1, 3), 10 * index, np.float32) for index in range(count)]  # type: ignore[misc]
    made = interpolate(
        iter(frames),
        made_fps=made_fps,
        shown_fps=shown_fps,
        num_output_frames=round(count * shown_fps / made_fps),
        make_between=between,
    )
    return [round(float(frame[0, 0, 0]) / 10, 3) for frame in made]


def test_twice_the_rate_has_a_frame_between_each_two_and_repeats_the_last():
    assert times_at(10, 20, 3) == [0, 0.5, 1, 1.5, 2, 2]


def test_a_rate_that_is_no_multiple_keeps_the_speed():
    assert times_at(16, 24, 4) == [0, 0.667, 1.333, 2, 2.667, 3]


def test_a_clip_of_one_frame_is_repeated():
    assert times_at(8, 24, 1) == [0, 0, 0]


def test_two_frames_are_in_memory_however_long_the_clip_is():
    alive = 0

    class Held:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0
    frames: Any = (Held() for _ in range(200))
    for _ in interpolate(frames, made_fps=1, shown_fps=2, num_output_frames=400, make_between=lambda first, *_: first):
        most = max(most, alive)
    assert most <= 3
