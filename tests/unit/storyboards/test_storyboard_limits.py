"""What a storyboard may have is fitted to its model and to the server, and every change is reported."""

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.contract import StoryboardRequest
from phoenix.errors import InvalidRequest
from phoenix.storyboards.limits import PlanLimits, fit_request

CATALOG = load_catalog()
WAN = "wan-2.1-t2v-1.3b"


def fit(max_reel_s: float = 600, **fields: object) -> PlanLimits:
    request = StoryboardRequest.model_validate({"idea": "x", **fields})
    return fit_request(request, CATALOG, default_model="animatic", max_reel_s=max_reel_s)


def changes(limits: PlanLimits) -> dict[str, str]:
    return {each.pointer: each.resolved for each in limits.adjustments}


def test_what_fits_is_left_as_it_is() -> None:
    limits = fit(num_clips=5, duration_s=3, aspect_ratio="9:16")

    assert (limits.num_clips, limits.duration_s, limits.aspect_ratio) == (5, 3, "9:16")
    assert limits.adjustments == ()


def test_a_length_becomes_the_nearest_that_the_model_makes() -> None:
    long, short = fit(model=WAN, duration_s=100), fit(model=WAN, duration_s=0.01)

    assert (long.duration_s, short.duration_s) == (long.longest_s, short.shortest_s)
    assert list(changes(long)) == list(changes(short)) == ["/duration_s"]


def test_a_shape_becomes_the_nearest_that_the_model_makes() -> None:
    limits = fit(model=WAN, aspect_ratio="21:9")

    assert (limits.aspect_ratio, changes(limits)) == ("16:9", {"/aspect_ratio": "16:9"})


def test_clips_that_make_the_reel_too_long_are_left_out() -> None:
    limits = fit(max_reel_s=10, num_clips=20, duration_s=3)

    assert (limits.num_clips, limits.max_clips, changes(limits)) == (3, 3, {"/num_clips": "3"})


def test_many_clips_without_a_length_are_shortened() -> None:
    limits = fit(max_reel_s=10, num_clips=10)

    assert (limits.num_clips, limits.length_s(10), limits.adjustments) == (10, 1.0, ())
    assert limits.length_s(1) is None


def test_a_model_that_needs_a_picture_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequest, match="needs first_frame") as caught:
        fit(model="wan-2.1-i2v-14b-480p")

    assert [fault.pointer for fault in caught.value.field_errors] == ["/model"]


def test_an_unknown_model_is_refused_with_those_that_need_no_picture() -> None:
    with pytest.raises(InvalidRequest, match="choose one of: animatic") as caught:
        fit(model="nobody-has-it")

    assert "wan-2.1-i2v-14b-480p" not in caught.value.detail
