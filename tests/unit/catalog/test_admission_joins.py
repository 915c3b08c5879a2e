"""Stitches and soundtracks: what is joined must exist, be of the right kind and long enough."""

import pytest
from pydantic import ValidationError

from phoenix.catalog.request_validation import AdmissionLimits, admit_soundtrack, admit_stitch
from phoenix.contract import MediaInfo, SoundtrackJobRequest, StitchRequest
from phoenix.errors import InvalidRequest

IDS = [f"art_01kag3e9zq4f7w5m8x2c6b0n{number}d" for number in range(3)]
CROSSFADE = {"kind": "crossfade", "duration_s": 1.5}


def video(duration_s: float) -> MediaInfo:
    return MediaInfo(media="video", format="mp4", duration_s=duration_s)


def stitch_errors(media: dict[str, MediaInfo], *, limit_s: float = 600, **body) -> dict[str, str]:
    request = StitchRequest.model_validate({"artifact_ids": IDS[:2], **body})
    with pytest.raises(InvalidRequest) as refused:
        admit_stitch(request, limits=AdmissionLimits(max_reel_duration_s=limit_s), media=media)
    return {error.pointer: error.detail for error in refused.value.field_errors}


def test_a_stitch_of_two_videos_is_taken():
    request = StitchRequest.model_validate({"artifact_ids": IDS[:2], "transition": CROSSFADE})
    stitch = admit_stitch(request, limits=AdmissionLimits(), media={IDS[0]: video(3), IDS[1]: video(4)})
    assert stitch.artifact_ids == IDS[:2]
    assert stitch.transition.duration_s == 1.5


def test_each_artifact_that_is_missing_or_no_video_is_named():
    errors = stitch_errors({IDS[1]: MediaInfo(media="audio", format="mp3")}, artifact_ids=IDS)
    assert list(errors) == ["/artifact_ids/0", "/artifact_ids/1", "/artifact_ids/2"]
    assert "is audio; give a video" in errors["/artifact_ids/1"]


def test_a_crossfade_must_fit_the_shortest_video():
    errors = stitch_errors({IDS[0]: video(2), IDS[1]: video(9)}, transition=CROSSFADE)
    assert "here 1 s" in errors["/transition/duration_s"]


def test_a_crossfade_must_fit_the_picture_and_not_the_sound_of_a_video():
    long_sound = MediaInfo(media="video", format="mp4", duration_s=9, video_duration_s=2, audio_duration_s=9)
    errors = stitch_errors({IDS[0]: long_sound, IDS[1]: video(9)}, transition=CROSSFADE)
    assert "here 1 s" in errors["/transition/duration_s"]


def test_a_soundtrack_begins_before_the_end_of_the_sound_of_a_video():
    long_picture = MediaInfo(
        media="video", format="mp4", audio_codec="aac", duration_s=9, video_duration_s=9, audio_duration_s=2
    )
    media = {IDS[0]: video(3), IDS[1]: video(3), IDS[2]: long_picture}
    errors = stitch_errors(media, soundtrack={"artifact_id": IDS[2], "start_s": 3})
    assert "the sound is 2 s long" in errors["/soundtrack/start_s"]


def test_a_stitch_longer_than_the_server_allows_is_refused():
    assert "/artifact_ids" in stitch_errors({IDS[0]: video(20), IDS[1]: video(20)}, limit_s=30)


def test_a_stitch_keeps_its_soundtrack():
    request = StitchRequest.model_validate({"artifact_ids": IDS[:1], "soundtrack": {"artifact_id": IDS[2]}})
    media = {IDS[0]: video(3), IDS[2]: MediaInfo(media="audio", format="mp3", duration_s=3)}
    stitch = admit_stitch(request, limits=AdmissionLimits(), media=media)
    assert stitch.soundtrack is not None
    assert stitch.soundtrack.artifact_id == IDS[2]


@pytest.mark.parametrize("clip_sound", ["keep", "drop"])
def test_a_stitch_keeps_or_drops_the_sound_of_its_videos(clip_sound: str):
    request = StitchRequest.model_validate({"artifact_ids": IDS[:1], "clip_sound": clip_sound})
    assert admit_stitch(request, limits=AdmissionLimits()).clip_sound == clip_sound


def test_a_prepared_soundtrack_has_no_clips_beside_it():
    with pytest.raises(ValidationError, match="clip_sound_db"):
        SoundtrackJobRequest.model_validate({"source": {"artifact_id": IDS[0], "clip_sound_db": -6}})


def test_the_soundtrack_of_a_stitch_must_be_there():
    errors = stitch_errors({IDS[0]: video(3), IDS[1]: video(3)}, soundtrack={"artifact_id": IDS[2]})
    assert list(errors) == ["/soundtrack/artifact_id"]


def test_without_knowledge_of_the_media_a_stitch_is_taken_on_trust():
    request = StitchRequest.model_validate({"artifact_ids": IDS})
    assert admit_stitch(request, limits=AdmissionLimits()).artifact_ids == IDS


def test_a_soundtrack_whose_fades_do_not_fit_is_refused():
    request = SoundtrackJobRequest.model_validate(
        {"source": {"artifact_id": IDS[0], "fade_in_s": 3, "fade_out_s": 3}, "duration_s": 5}
    )
    with pytest.raises(InvalidRequest, match="/source/fade_out_s: the fades take 6 s"):
        admit_soundtrack(request)


def test_a_soundtrack_of_unknown_length_keeps_its_fades():
    request = SoundtrackJobRequest.model_validate({"source": {"artifact_id": IDS[0], "fade_in_s": 30}})
    assert admit_soundtrack(request).source.fade_in_s == 30


def test_a_soundtrack_keeps_the_length_that_was_asked_for():
    request = SoundtrackJobRequest.model_validate({"source": {"artifact_id": IDS[0]}, "duration_s": 5})
    assert admit_soundtrack(request).duration_s == 5


def test_a_soundtrack_of_an_artifact_that_is_not_there_is_refused():
    request = SoundtrackJobRequest.model_validate({"source": {"artifact_id": IDS[0]}})
    with pytest.raises(InvalidRequest, match="/source/artifact_id: there is no artifact"):
        admit_soundtrack(request, media={})
