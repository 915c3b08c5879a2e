"""Admission of lip-syncs: defaults, the length of the result, and every fault at its field."""

from typing import Any

import pytest

from phoenix.catalog.catalog import CatalogError, load_catalog
from phoenix.catalog.lipsync_validation import admit_lipsync
from phoenix.catalog.stored_entries import EntryChanged, restore_lip_model
from phoenix.contract import LipsyncRequest, MediaInfo, ResolvedLipsync
from phoenix.errors import InvalidRequest

VIDEO, AUDIO, PICTURE = ("art_01kag3e9zq4f7w5m8x2c6b0n" + name for name in ("1d", "1e", "1f"))
MEDIA = {
    VIDEO: MediaInfo(media="video", format="mp4", duration_s=4, width=641, height=480, fps=25, audio_codec="aac"),
    AUDIO: MediaInfo(media="audio", format="mp3", duration_s=6),
    PICTURE: MediaInfo(media="image", format="png", width=320, height=240),
}
BOX = {"x": 10, "y": 20, "width": 100, "height": 120}


def admit(media: dict[str, MediaInfo] | None = None, *, finds_faces: bool = False, **fields: Any) -> ResolvedLipsync:
    body = {"video": VIDEO, "audio": AUDIO, "box": BOX} | fields
    return admit_lipsync(
        LipsyncRequest.model_validate({name: value for name, value in body.items() if value is not None}),
        load_catalog(),
        default_model="drawn-mouth",
        finds_faces=finds_faces,
        max_duration_s=600,
        media=MEDIA | (media or {}),
    )


def faults(media: dict[str, MediaInfo] | None = None, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        admit(media, **fields)
    return {error.pointer: error.detail for error in refused.value.field_errors}


def test_the_result_has_the_even_size_and_the_rate_of_the_video_and_the_length_of_the_sound():
    made = admit()
    assert (made.width, made.height, made.fps, made.duration_s) == (640, 480, 25, 6)
    assert (made.model, made.when_shorter, made.sound, made.is_picture) == ("drawn-mouth", "loop", "replace", False)


def test_a_picture_gets_the_rate_of_its_lip_model():
    made = admit(video=PICTURE)
    assert (made.is_picture, made.fps) == (True, 25)


def test_a_cut_result_is_as_long_as_the_shorter_one():
    assert admit(when_shorter="trim").duration_s == 4
    assert admit(when_shorter="trim", video=PICTURE).duration_s == 6


@pytest.mark.parametrize(("length_s", "parts"), [(0.5, 1), (60, 1), (61, 2), (180, 3), (599, 10)])
def test_a_long_lip_sync_is_made_in_parts_of_a_minute(length_s: float, parts: int):
    assert admit({AUDIO: MEDIA[AUDIO].model_copy(update={"duration_s": length_s})}).parts == parts


def test_the_box_may_be_left_out_where_faces_are_found():
    assert admit(box=None, finds_faces=True).box is None
    assert faults(box=None) == {"/box": "this server has no face detector; give the box of the face"}


def test_all_faults_are_found_at_once():
    found = faults(video=AUDIO, audio=PICTURE, model="none")
    assert found == {
        "/model": "there is no lip model 'none' here; choose one of: drawn-mouth",
        "/video": "this artifact is audio; give a video or a picture",
        "/audio": "this artifact has no sound; give an artifact with sound",
    }


@pytest.mark.parametrize("box", [{"x": 560}, {"y": 400}, {"width": 700}, {"height": 500}])
def test_a_box_that_leaves_the_picture_is_refused_with_its_size(box: dict[str, int]):
    detail = "the box leaves the picture, which is 641x480; give a box inside it"
    assert faults(box=BOX | box) == {"/box": detail}


def test_unknown_artifacts_are_refused():
    unknown = "art_01kag3e9zq4f7w5m8x2c6b0nzz"
    assert set(faults(video=unknown, audio=unknown)) == {"/video", "/audio"}


def test_a_video_without_sound_is_no_sound_and_has_none_to_keep():
    silent = MEDIA[VIDEO].model_copy(update={"audio_codec": None})
    assert set(faults({VIDEO: silent}, audio=VIDEO, sound="keep")) == {"/audio", "/sound"}
    assert admit(audio=VIDEO, sound="keep").duration_s == 4


def test_a_sound_that_is_longer_than_the_longest_result_is_refused():
    long = MEDIA[AUDIO].model_copy(update={"duration_s": 700})
    assert faults({AUDIO: long})["/audio"].startswith("the result would be ")


def test_a_retry_uses_the_entry_of_the_request_while_the_catalog_names_its_file(tmp_path):
    file = tmp_path / "catalog.toml"
    entry = '[[lip_models]]\nid = "lips"\ntitle = "Lips"\nformat = "onnx"\nsource = "/models/{}.onnx"\nbatch = {}\n'
    file.write_text(entry.format("a", 8))
    request = admit_lipsync(
        LipsyncRequest.model_validate({"video": VIDEO, "audio": AUDIO, "box": BOX, "model": "lips"}),
        load_catalog(file),
        default_model="lips",
        finds_faces=False,
        max_duration_s=600,
        media=MEDIA,
    )
    file.write_text(entry.format("a", 2))
    assert restore_lip_model(request, load_catalog(file)).batch == 8
    file.write_text(entry.format("b", 8))
    with pytest.raises(EntryChanged, match="lips came from"):
        restore_lip_model(request, load_catalog(file))


def test_a_faulty_entry_is_refused_with_its_name(tmp_path):
    file = tmp_path / "catalog.toml"
    file.write_text('[[lip_models]]\nid = "lips"\ntitle = "Lips"\nformat = "onnx"\n')
    with pytest.raises(CatalogError, match="lip model 'lips': entry: Value error, an ONNX or TorchScript model has"):
        load_catalog(file)
