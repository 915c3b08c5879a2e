"""The arithmetic from seconds to frames and from names to pixels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.resolve import (
    Size,
    default_frames,
    fit_size,
    floor_frames,
    is_visibly_rounded,
    longest_s,
    nearest_frames,
)
from phoenix.catalog.rules import FrameRule, SizeRule

WAN = FrameRule(multiple=4, offset=1, minimum=5, maximum=81, default=81)
FREE = FrameRule(minimum=1, maximum=1800, default=48, longest_s=30)


@given(frames=st.floats(min_value=0, max_value=200))
def test_the_nearest_frame_count_is_one_the_model_makes_and_none_is_nearer(frames):
    nearest = nearest_frames(WAN, frames)
    legal = range(WAN.minimum, WAN.maximum + 1, WAN.multiple)
    assert nearest in legal
    assert abs(nearest - frames) == min(abs(count - frames) for count in legal)


@given(frames=st.floats(min_value=5, max_value=200))
def test_the_most_frames_are_never_more_than_fit(frames):
    most = floor_frames(WAN, frames)
    assert (most - WAN.offset) % WAN.multiple == 0
    assert most <= frames < most + WAN.multiple or most == WAN.maximum


def test_between_two_counts_as_near_the_longer_clip_wins():
    assert nearest_frames(WAN, 79) == 81


def test_a_rule_without_a_bound_in_seconds_is_bounded_by_its_frames():
    assert longest_s(WAN, 16) == 81 / 16


@pytest.mark.parametrize("fps", [1, 16, 24, 60])
def test_a_bound_in_seconds_holds_at_every_frame_rate(fps):
    assert longest_s(FREE, fps) == 30


def test_the_default_length_keeps_its_seconds_at_another_frame_rate():
    assert default_frames(FREE, 30, default_fps=16) == 90


def test_the_default_length_shrinks_where_the_model_cannot_make_so_many_frames():
    assert default_frames(WAN, 24, default_fps=16) == 81


@pytest.mark.parametrize(
    ("resolution", "ratio", "size"),
    [
        ("480p", "16:9", (854, 480)),
        ("480p", "9:16", (480, 854)),
        ("720p", "16:9", (1280, 720)),
        ("480p", "1:1", (480, 480)),
        ("480p", "4:3", (640, 480)),
        ("1080p", "21:9", (2520, 1080)),
    ],
)
def test_a_resolution_is_the_shorter_side_whatever_the_ratio(resolution, ratio, size):
    fitted = fit_size(load_catalog().get("animatic").size, resolution, ratio)
    assert fitted == Size(*size)
    assert not is_visibly_rounded(fitted, resolution, ratio)


def test_a_size_the_model_was_trained_at_goes_before_arithmetic():
    rule = load_catalog().get("wan-2.1-t2v-1.3b").size
    assert fit_size(rule, "480p", "16:9") == Size(832, 480)
    assert is_visibly_rounded(Size(832, 480), "480p", "16:9")


@given(
    multiple=st.sampled_from([2, 8, 16, 32, 64]),
    resolution=st.sampled_from(["240p", "360p", "480p", "540p", "720p", "1080p"]),
    ratio=st.sampled_from(["16:9", "9:16", "1:1", "4:3", "3:4", "21:9"]),
)
def test_every_size_is_in_multiples_and_within_half_a_multiple_of_what_was_asked(multiple, resolution, ratio):
    rule = SizeRule(
        multiple=multiple,
        resolutions=(resolution,),
        default_resolution=resolution,
        aspect_ratios=(ratio,),
        default_aspect_ratio=ratio,
    )
    size = fit_size(rule, resolution, ratio)
    assert size.width % multiple == size.height % multiple == 0
    assert abs(min(size) - int(resolution.removesuffix("p"))) <= multiple / 2
