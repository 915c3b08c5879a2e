"""Which conditions a clip may have, by the entry of its model and by the files that it names."""

from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import ConditionSource, MediaInfo, ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

PICTURE, VIDEO, SHORT, SOUND, NOBODYS = (f"art_{number:026}" for number in range(5))
MEDIA = {
    PICTURE: MediaInfo(media="image", format="png"),
    VIDEO: MediaInfo(media="video", format="mp4", duration_s=4, video_duration_s=2),
    SHORT: MediaInfo(media="video", format="mp4", duration_s=1),
    SOUND: MediaInfo(media="audio", format="mp3", duration_s=2),
}
ROLES = {
    "first_frame": {},
    "keyframe": {"maximum": 2, "strength": {"minimum": 0, "maximum": 1, "default": 0.5}},
    "source_video": {"excludes": ["control_pose"]},
    "control_pose": {},
    "mask": {},
    "audio": {},
}


def model(**conditions: Any) -> ModelSpec:
    """The built-in animatic, which makes clips of 2 s here, with these roles."""
    fields = load_catalog().get("animatic").model_dump()
    return ModelSpec.model_validate(fields | {"conditions": conditions or ROLES})


def given(role: str, artifact_id: str = PICTURE, **more: Any) -> dict[str, Any]:
    return {"role": role, "source": {"artifact_id": artifact_id}, **more}


def admit(*conditions: dict[str, Any], spec: ModelSpec | None = None, media: Any = MEDIA) -> ResolvedReel:
    return admit_reel(
        ReelRequest.model_validate({"clips": [{"prompt": "a", "conditions": conditions, "duration_s": 2}]}),
        Catalog([spec or model()]),
        default_model="animatic",
        limits=AdmissionLimits(),
        draw_seed=lambda: 0,
        media=media,
    )


def errors(*conditions: dict[str, Any], **more: Any) -> dict[str, str]:
    """The errors by pointer, without the place of the clip."""
    with pytest.raises(InvalidRequest) as refused:
        admit(*conditions, **more)
    return {error.pointer.removeprefix("/clips/0/conditions"): error.detail for error in refused.value.field_errors}


def test_a_role_that_the_model_does_not_take_is_refused_with_those_that_it_takes():
    expected = "animatic takes no last_frame; it takes first_frame, keyframe, source_video, control_pose, mask, audio"
    assert errors(given("last_frame")) == {"/0/role": expected}


def test_a_model_without_conditions_takes_none():
    plain = load_catalog().get("animatic").model_copy(update={"conditions": {}})
    assert "takes no conditions" in errors(given("first_frame"), spec=plain)["/0/role"]


def test_a_model_that_continues_a_video_needs_its_end_and_a_longer_clip():
    resolved = admit(given("source_video", SHORT), spec=model(source_video={"overlap_s": 1}))
    assert resolved.clips[0].conditions[0].overlap_s == 1
    found = errors(given("source_video", SHORT), spec=model(source_video={"overlap_s": 1.5}))
    assert "needs at least 1.5 s for source_video" in found["/0/source/artifact_id"]
    found = errors(given("source_video", VIDEO), spec=model(source_video={"overlap_s": 2}))
    assert "begins a clip with 2 s of the source_video, and the clip is 2 s long" in found["/0/role"]


def test_a_sound_is_refused_with_what_plays_one():
    found = errors(given("audio", SOUND), spec=model(first_frame={}))
    assert found["/0/role"] == (
        "animatic takes no audio, and no model class that Phoenix runs is led by a sound;"
        " set lip_sync to move the lips of the clip by it, or give it as the soundtrack to play it with the reel"
    )


def test_a_needed_role_that_is_missing_is_named():
    found = errors(spec=model(first_frame={"minimum": 1}, reference={"minimum": 2, "maximum": 3}))
    assert "needs" in found[""]
    with pytest.raises(InvalidRequest) as refused:
        admit(given("first_frame"), spec=model(first_frame={"minimum": 1}, reference={"minimum": 2, "maximum": 3}))
    assert "needs 2 of a picture with the role reference" in str(refused.value.field_errors[0].detail)


def test_a_single_role_is_not_taken_twice():
    found = errors(given("first_frame"), given("mask", VIDEO), given("first_frame"))
    assert "takes at most 1 of the role first_frame" in found.pop("/2/role")
    assert found == {}


def test_roles_that_exclude_each_other_are_not_taken_together():
    found = errors(given("control_pose", VIDEO), given("source_video", VIDEO))
    assert found == {"/1/role": "animatic does not take source_video together with control_pose; choose one of them"}


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"shortest_clip_s": 3}, "in clips of at least 3 s, and this clip is 2 s long; change duration_s"),
        ({"longest_clip_s": 1.5}, "in clips of at most 1.5 s, and this clip is 2 s long"),
        ({"shortest_clip_s": 8, "longest_clip_s": 8}, "in clips of 8 s only, and this clip is 2 s long"),
    ],
)
def test_a_role_for_clips_of_another_length_is_refused(limits, complaint):
    found = errors(given("first_frame"), spec=model(first_frame=limits))
    assert complaint in found.pop("/0/role")
    assert found == {}


def test_a_role_for_clips_of_this_length_is_taken():
    limits = {"shortest_clip_s": 2, "longest_clip_s": 2}
    assert admit(given("first_frame"), spec=model(first_frame=limits)).clips[0].conditions


def test_an_entry_cannot_have_a_shortest_clip_beyond_the_longest():
    with pytest.raises(ValidationError, match="is more than longest_clip_s"):
        model(first_frame={"shortest_clip_s": 3, "longest_clip_s": 2})


@pytest.mark.parametrize(
    ("condition", "place", "complaint"),
    [
        (given("keyframe"), "/0/at_s", "say at which second"),
        (given("keyframe", at_s=2.1), "/0/at_s", "the clip is 2 s long"),
        (given("first_frame", at_s=0), "/0/at_s", "first_frame has no time"),
        (given("first_frame", strength=0.5), "/0/strength", "takes no strength for first_frame"),
        (given("keyframe", at_s=1, strength=1.5), "/0/strength", "takes a strength of 0 to 1"),
        (given("first_frame", SOUND), "/0/source/artifact_id", "is audio; first_frame wants a picture"),
        (given("first_frame", VIDEO), "/0/source/artifact_id", "is video; first_frame wants a picture"),
        (given("source_video", PICTURE), "/0/source/artifact_id", "is image; source_video wants a video"),
        (given("audio", VIDEO), "/0/source/artifact_id", "is video; audio wants a sound"),
        (given("first_frame", NOBODYS), "/0/source/artifact_id", "there is no artifact"),
        (given("source_video", SHORT), "/0/source/artifact_id", "is 1 s long, and animatic needs at least 2 s"),
        ({"role": "first_frame", "source": {"previous_clip": True}}, "/0/source/previous_clip", "no clip before it"),
    ],
)
def test_a_condition_that_cannot_be_used_is_refused_at_its_place(condition, place, complaint):
    found = errors(condition)
    assert complaint in found.pop(place)
    assert found == {}


def test_a_short_video_is_taken_where_the_entry_says_so():
    admit(given("source_video", SHORT), spec=model(source_video={"shortest_s": 1}))


def test_a_mask_is_as_long_as_its_video():
    shorter = model(source_video={"shortest_s": 1}, mask={"shortest_s": 1})
    found = errors(given("source_video", VIDEO), given("mask", SHORT), spec=shorter)
    assert found == {"/1/source": "the mask is 1 s long and its video 2 s; give both the same length"}


def test_a_clip_keeps_its_conditions_in_order_with_the_default_strength():
    (clip,) = admit(given("keyframe", at_s=1.5), given("first_frame"), given("keyframe", at_s=0, strength=1)).clips
    assert [(each.role, each.at_s, each.strength) for each in clip.conditions] == [
        ("keyframe", 1.5, 0.5),
        ("first_frame", None, None),
        ("keyframe", 0, 1),
    ]


def test_files_are_not_looked_up_for_a_plan():
    assert admit(given("source_video", NOBODYS), media=None).clips[0].conditions[0].source.artifact_id == NOBODYS


JOB = "job_" + "0" * 26


@pytest.mark.parametrize(
    "source",
    [
        {"artifact_id": PICTURE},
        {"job_id": JOB, "clip_index": 0},
        {"previous_clip": True},
    ],
)
def test_a_source_is_shown_as_it_was_given(source):
    assert ConditionSource.model_validate(source).model_dump() == source


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"job_id": JOB},
        {"clip_index": 0},
        {"previous_clip": False},
        {"artifact_id": PICTURE, "previous_clip": True},
        {"artifact_id": PICTURE, "job_id": JOB, "clip_index": 0},
    ],
)
def test_a_condition_has_exactly_one_source(source):
    with pytest.raises(ValidationError):
        ConditionSource.model_validate(source)


def test_a_clip_has_so_many_conditions_and_no_more():
    with pytest.raises(ValidationError, match="at most 16"):
        admit(*[given("keyframe", at_s=1)] * 17)
