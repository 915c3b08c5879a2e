"""The streams of one file have one common zero, and each length counts from it."""

from fractions import Fraction
from pathlib import Path

import pytest

from phoenix.media.timeline import PictureTimes, SoundTimes, SourceStream, Timeline, parse_timeline

PATH = Path("a.mp4")


def picture(start_s: float, end_s: float, *, num_frames: int = 75, is_regular: bool = True) -> PictureTimes:
    return PictureTimes(0, start_s, end_s, num_frames, Fraction(30), is_regular)


def test_a_file_begins_with_its_first_stream() -> None:
    late_picture = Timeline(picture(1.5, 4), SoundTimes(1, 1, 4))
    late_sound = Timeline(picture(1, 4), SoundTimes(1, 1.5, 4))

    assert (late_picture.zero_s, late_sound.zero_s) == (1, 1)


def test_both_streams_are_shown_from_the_common_zero() -> None:
    timeline = Timeline(picture(1.5, 4), SoundTimes(1, 1, 4))

    assert timeline.get_picture(PATH) == SourceStream(PATH, 0, 1)
    assert timeline.get_sound(PATH) == SourceStream(PATH, 1, 1)


def test_a_difference_that_nobody_sees_moves_no_frame() -> None:
    timeline = Timeline(picture(0.01, 2.51), SoundTimes(1, 0, 3))

    assert timeline.zero_s == 0.01
    assert timeline.count_frames(Fraction(30)) == 75


def test_a_sound_may_outlast_the_picture() -> None:
    timeline = Timeline(picture(0, 2.5), SoundTimes(1, 0, 8))

    assert (timeline.picture_s, timeline.sound_s, timeline.duration_s) == (2.5, 8, 8)


def test_a_sound_alone_begins_at_its_own_start() -> None:
    timeline = Timeline(None, SoundTimes(0, 0.025, 4.025))

    assert timeline.zero_s == 0.025
    assert (timeline.picture_s, timeline.duration_s) == (None, pytest.approx(4))


def test_an_image_has_no_time() -> None:
    assert (Timeline().zero_s, Timeline().duration_s, Timeline().sound_s) == (0, 0, None)


@pytest.mark.parametrize(
    ("timeline", "frames"),
    [
        (Timeline(picture(0, 2.5)), 75),
        (Timeline(picture(0.5, 3), SoundTimes(1, 0, 3)), 90),
        (Timeline(picture(0, 10, num_frames=31, is_regular=False)), 300),
        (Timeline(picture(0, 0.001, num_frames=1, is_regular=False)), 1),
    ],
)
def test_the_frames_of_a_clip_last_until_the_end_of_its_picture(timeline: Timeline, frames: int) -> None:
    assert timeline.count_frames(Fraction(30)) == frames


def test_frames_are_counted_at_the_rate_of_the_reel() -> None:
    assert Timeline(picture(0, 2.5)).count_frames(Fraction(16)) == 40


def test_an_exact_rate_survives_the_way_between_processes() -> None:
    found = {"index": 2, "start_s": 0.5, "end_s": 1.0, "num_frames": 15, "fps": "30000/1001", "is_regular": True}

    assert parse_timeline({"picture": found}).picture == PictureTimes(2, 0.5, 1.0, 15, Fraction(30000, 1001), True)
