"""Clips as the sources of conditions: which of them a clip may name, and what a refusal says."""

from typing import Any

import pytest

from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.rules import ConditionRule
from phoenix.contract import ConditionRole, MediaInfo, ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

JOB, CLIP_FILE = "job_01kag3e9zq4f7w5m8x2c6b0n1d", "art_01kag3e9zq4f7w5m8x2c6b0n1d"
PREVIOUS = {"previous_clip": True}
OF_JOB = {"job_id": JOB, "clip_index": 1}
RULES: dict[ConditionRole, ConditionRule] = {
    "first_frame": ConditionRule(),
    "source_video": ConditionRule(),
    "audio": ConditionRule(shortest_s=0.1),
}
ONE_SECOND = MediaInfo(media="video", format="mp4", duration_s=1, video_duration_s=1)


def admit(
    *clips: dict[str, Any],
    media: Any = None,
    makes_sound: bool = False,
    limit_s: float = 60,
    catalog: Catalog | None = None,
    **body: Any,
) -> ResolvedReel:
    """A reel of clips of 2 seconds. `media`: what is known of the file of the finished clip `OF_JOB`."""
    model = load_catalog().get("animatic").model_copy(update={"conditions": RULES, "makes_sound": makes_sound})
    return admit_reel(
        ReelRequest.model_validate({"clips": [{"prompt": "a", **clip} for clip in clips], "duration_s": 2, **body}),
        catalog or Catalog([model]),
        default_model="animatic",
        limits=AdmissionLimits(max_reel_duration_s=limit_s),
        draw_seed=lambda: 0,
        media={CLIP_FILE: media} if media else {},
        finished_clips={(JOB, 1): CLIP_FILE} if media else {},
    )


def with_source(source: dict[str, Any], role: str = "first_frame") -> dict[str, Any]:
    return {"conditions": [{"role": role, "source": source}]}


def error_of(*clips: dict[str, Any], **admission: Any) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        admit(*clips, **admission)
    (error,) = refused.value.field_errors
    return error.pointer, error.detail


def test_a_clip_may_continue_the_clip_before_it() -> None:
    first, second = admit({}, with_source(PREVIOUS)).clips
    assert (first.continues_previous, second.continues_previous) == (False, True)
    assert second.conditions[0].artifact_id is None


def test_the_first_clip_has_no_clip_before_it() -> None:
    pointer, detail = error_of(with_source(PREVIOUS))
    assert pointer == "/clips/0/conditions/0/source/previous_clip"
    assert detail.startswith("the first clip has no clip before it; give artifact_id")


def test_a_finished_clip_is_resolved_to_its_file() -> None:
    (clip,) = admit(with_source(OF_JOB), media=ONE_SECOND).clips
    assert (clip.conditions[0].artifact_id, clip.continues_previous) == (CLIP_FILE, False)


@pytest.mark.parametrize("source", [OF_JOB, {"job_id": JOB, "clip_index": 0}])
def test_a_clip_that_is_not_there_is_refused(source: dict[str, Any]) -> None:
    media = None if source is OF_JOB else ONE_SECOND
    pointer, detail = error_of(with_source(source), media=media)
    assert pointer == "/clips/0/conditions/0/source/job_id"
    assert detail == f"no job {JOB} of yours has a finished clip {source['clip_index']}; wait until it is done"


def test_a_finished_clip_that_is_too_short_as_a_video_is_refused() -> None:
    pointer, detail = error_of(with_source(OF_JOB, "source_video"), media=ONE_SECOND)
    assert pointer == "/clips/0/conditions/0/source/job_id"
    assert "this clip is 1 s long, and animatic needs at least 2 s" in detail


def test_a_clip_before_that_is_too_short_as_a_video_is_refused() -> None:
    pointer, detail = error_of({"duration_s": 1}, with_source(PREVIOUS, "source_video"))
    assert pointer == "/clips/1/conditions/0/source/previous_clip"
    assert "the clip before this one is 1 s long, and animatic needs at least 2 s" in detail


def test_a_clip_before_that_is_long_enough_as_a_video_is_taken() -> None:
    assert admit({"duration_s": 3}, with_source(PREVIOUS, "source_video")).clips[1].continues_previous


@pytest.mark.parametrize(("makes_sound", "clip_sound"), [(False, "keep"), (True, "drop")])
def test_a_clip_before_without_sound_is_no_sound(makes_sound: bool, clip_sound: str) -> None:
    clips = ({}, with_source(PREVIOUS, "audio"))
    pointer, detail = error_of(*clips, makes_sound=makes_sound, clip_sound=clip_sound)
    assert pointer == "/clips/1/conditions/0/source/previous_clip"
    assert "the clip before this one has no sound" in detail


def test_the_sound_of_the_clip_before_is_a_sound() -> None:
    assert admit({}, with_source(PREVIOUS, "audio"), makes_sound=True).clips[1].continues_previous


AS_LARGE = ONE_SECOND.model_copy(update={"width": 854, "height": 480, "fps": 16.0})


def test_the_first_clip_of_an_extension_begins_with_the_end_of_the_extended_clip() -> None:
    reel = admit({}, {}, media=AS_LARGE, extends=OF_JOB)
    first, second = reel.clips
    assert [(each.role, each.artifact_id) for each in first.conditions] == [("first_frame", CLIP_FILE)]
    assert second.conditions == []
    assert reel.extends is not None
    assert (reel.extends.artifact_id, reel.part_lengths_s) == (CLIP_FILE, [1, 2, 2])


def test_a_first_clip_that_says_how_it_begins_begins_so() -> None:
    own = {"role": "source_video", "source": OF_JOB}
    reel = admit({"conditions": [own], "duration_s": 1}, media=AS_LARGE, extends=OF_JOB)
    assert [each.role for each in reel.clips[0].conditions] == ["source_video"]


def test_a_clip_that_is_not_there_cannot_be_extended() -> None:
    pointer, detail = error_of({}, extends=OF_JOB)
    assert pointer == "/extends"
    assert detail.startswith(f"no job {JOB} of yours has a finished clip 1")


def test_a_clip_of_another_size_or_rate_cannot_be_extended() -> None:
    pointer, detail = error_of({}, media=AS_LARGE, extends=OF_JOB, fps=24)
    assert pointer == "/extends"
    assert "854x480 pixels and 16 frames per second, and this reel 854x480 and 24" in detail


def test_a_model_that_cannot_go_on_from_a_file_cannot_extend() -> None:
    media = AS_LARGE.model_copy(update={"width": 832})
    pointer, detail = error_of({}, media=media, extends=OF_JOB, model="wan-2.1-t2v-1.3b", catalog=load_catalog())
    assert pointer == "/extends"
    assert detail.startswith("wan-2.1-t2v-1.3b takes no first_frame; choose another model")


def test_an_extended_clip_counts_for_the_length_of_the_result() -> None:
    assert error_of({}, media=AS_LARGE, extends=OF_JOB, limit_s=2.5)[0] == "/clips"
