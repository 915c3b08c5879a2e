"""Which models start from a picture, and which pictures they are given."""

import pytest

from phoenix.catalog.model import Catalog, load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import MediaInfo, ReelRequest
from phoenix.errors import InvalidRequest

IMAGE_ID = "art_01kag3e9zq4f7w5m8x2c6b0n1d"
POINTER = "/clips/0/image_artifact_id"


def errors(*, takes: bool, needs: bool, image_id: str | None = None, media: dict[str, MediaInfo] | None = None):
    model = load_catalog().get("animatic").model_copy(update={"takes_image": takes, "needs_image": needs})
    body = {"clips": [{"prompt": "a", "image_artifact_id": image_id}]}
    try:
        admit_reel(
            ReelRequest.model_validate(body),
            Catalog([model]),
            default_model="animatic",
            limits=AdmissionLimits(),
            draw_seed=lambda: 0,
            media=media,
        )
    except InvalidRequest as refused:
        return {error.pointer: error.detail for error in refused.field_errors}
    return {}


def test_an_image_for_a_model_that_takes_none_is_refused():
    assert "takes no image" in errors(takes=False, needs=False, image_id=IMAGE_ID)[POINTER]


def test_a_model_that_starts_from_a_picture_is_not_run_without_one():
    assert "starts from a picture" in errors(takes=True, needs=True)[POINTER]


@pytest.mark.parametrize("image_id", [None, IMAGE_ID])
def test_a_model_that_may_start_from_a_picture_may_do_without(image_id):
    assert errors(takes=True, needs=False, image_id=image_id) == {}


def test_a_sound_is_not_a_first_frame():
    media = {IMAGE_ID: MediaInfo(media="audio", format="mp3")}
    assert "is audio; give an image" in errors(takes=True, needs=False, image_id=IMAGE_ID, media=media)[POINTER]


def test_a_picture_of_the_caller_is_taken():
    media = {IMAGE_ID: MediaInfo(media="image", format="png")}
    assert errors(takes=True, needs=True, image_id=IMAGE_ID, media=media) == {}


def test_a_clip_keeps_its_picture():
    model = load_catalog().get("animatic").model_copy(update={"takes_image": True})
    reel = admit_reel(
        ReelRequest.model_validate({"clips": [{"prompt": "a"}, {"prompt": "b", "image_artifact_id": IMAGE_ID}]}),
        Catalog([model]),
        default_model="animatic",
        limits=AdmissionLimits(),
        draw_seed=lambda: 0,
    )
    assert [clip.image_artifact_id for clip in reel.clips] == [None, IMAGE_ID]
