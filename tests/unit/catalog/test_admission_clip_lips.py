"""What `lip_sync` of a clip becomes, and what is refused by name."""

from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.catalog.catalog import Catalog, CatalogError, load_catalog
from phoenix.catalog.clip_postprocessing import puppet_face
from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.resolve import Size
from phoenix.catalog.rules import ConditionRule
from phoenix.catalog.stored_entries import EntryChanged, check_entries, restore_clip_lips
from phoenix.contract import MediaInfo, ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

SPECS = {spec.id: spec for spec in load_catalog()}
ANIMATIC, WAN = SPECS["animatic"], SPECS["wan-2.1-t2v-1.3b"]
DRAWN = load_catalog().lip_models["drawn-mouth"]
LIPS = LipModelSpec(id="lips", title="Lips", format="onnx", source="/models/lips.onnx")
HEARING = WAN.model_copy(update={"id": "hearing", "conditions": {"audio": ConditionRule()}})
CATALOG = Catalog([ANIMATIC, WAN, HEARING], lip_models=[DRAWN, LIPS])
SOUND, SILENT = "art_01kag3e9zq4f7w5m8x2c6b0n1d", "art_01kag3e9zq4f7w5m8x2c6b0n1e"
MEDIA = {
    SOUND: MediaInfo(media="audio", format="wav", duration_s=9, audio_duration_s=9, audio_codec="pcm_s16le"),
    SILENT: MediaInfo(media="image", format="png", width=64, height=64),
}
AUDIO = {"role": "audio", "source": {"artifact_id": SOUND}}
BOX = {"x": 10, "y": 20, "width": 100, "height": 120}


def admit(
    clip: dict[str, Any], *, model: str = WAN.id, limits: AdmissionLimits | None = None, **body: Any
) -> ResolvedReel:
    request = ReelRequest.model_validate({"model": model, "clips": [{"prompt": "a face", **clip}], **body})
    return admit_reel(
        request,
        CATALOG,
        default_model=WAN.id,
        limits=limits or AdmissionLimits(),
        draw_seed=lambda: 7,
        media=MEDIA,
    )


def refusal(clip: dict[str, Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        admit(clip, **arguments)
    (error,) = refused.value.field_errors
    return error.pointer, error.detail


def test_lips_follow_the_narration_of_their_clip():
    (clip,) = admit({"narration": "Hello.", "lip_sync": {"box": BOX}}).clips
    assert clip.lip_sync is not None
    assert (clip.lip_sync.model, clip.lip_sync.follows) == ("drawn-mouth", "narration")
    assert clip.says_narration
    assert not clip.says_audio


def test_lips_follow_the_audio_of_their_clip_though_the_model_takes_none():
    (clip,) = admit({"conditions": [AUDIO], "lip_sync": {"box": BOX, "model": "lips"}}).clips
    assert clip.says_audio
    assert [condition.role for condition in clip.conditions] == ["audio"]
    assert clip.postprocessors == ("lips",)


def test_the_entry_of_the_lip_model_is_stored_and_gives_the_lip_model_again():
    reel = admit({"narration": "Hello.", "lip_sync": {"box": BOX, "model": "lips"}})
    assert reel.postprocessors["lips"].fields["source"] == "/models/lips.onnx"
    restored = restore_clip_lips(reel.clips[0], reel, CATALOG)
    assert restored == LIPS.model_copy(update={"title": "lips"})


def test_a_lip_model_that_the_catalog_no_longer_names_changes_the_entries():
    reel = admit({"narration": "Hello.", "lip_sync": {"box": BOX, "model": "lips"}})
    with pytest.raises(EntryChanged, match="lips came from /models/lips"):
        check_entries(reel, Catalog([WAN], lip_models=[DRAWN]))


def test_an_animatic_has_a_puppet_where_no_box_is_given():
    reel = admit({"narration": "Hello.", "lip_sync": True}, model="animatic")
    (clip,) = reel.clips
    assert clip.lip_sync is not None
    assert clip.lip_sync.box == puppet_face(Size(reel.width, reel.height))


@pytest.mark.parametrize("size", [(1280, 720), (480, 854), (64, 48), (240, 240), (560, 240)])
def test_a_puppet_has_its_face_inside_the_frame(size: tuple[int, int]):
    box = puppet_face(Size(*size))
    assert box.x >= 0
    assert box.x + box.width <= size[0]
    assert box.y + box.height <= 0.62 * size[1]


def test_a_detector_finds_the_face_where_the_server_has_one():
    limits = AdmissionLimits(default_lip_model="lips", finds_faces=True)
    (clip,) = admit({"narration": "Hello.", "lip_sync": True}, limits=limits).clips
    assert clip.lip_sync is not None
    assert (clip.lip_sync.model, clip.lip_sync.box) == ("lips", None)


def test_a_clip_without_lip_sync_is_as_before():
    reel = admit({"narration": "Hello."})
    assert reel.clips[0].lip_sync is None
    assert reel.postprocessors == {}


def test_a_face_that_nobody_finds_needs_a_box():
    assert refusal({"narration": "Hello.", "lip_sync": True}) == (
        "/clips/0/lip_sync/box",
        "this server has no face detector; give the box of the face",
    )


def test_lips_without_words_are_refused():
    pointer, detail = refusal({"lip_sync": {"box": BOX}})
    assert pointer == "/clips/0/lip_sync"
    assert detail.startswith("the lips need something to say: give the clip a narration")


def test_a_blank_narration_says_nothing():
    assert refusal({"narration": "  ", "lip_sync": {"box": BOX}})[0] == "/clips/0/lip_sync"


def test_lips_cannot_say_two_things():
    clip = {"narration": "Hello.", "conditions": [AUDIO], "lip_sync": {"box": BOX}}
    assert refusal(clip) == (
        "/clips/0/lip_sync",
        "the lips follow the narration or the audio of the clip; leave one of them out",
    )


def test_a_model_that_is_led_by_a_sound_moves_the_lips_itself():
    clip = {"conditions": [AUDIO], "lip_sync": {"box": BOX}}
    assert refusal(clip, model="hearing") == (
        "/clips/0/lip_sync",
        "hearing moves the lips by its audio itself; leave lip_sync out",
    )


def test_an_unknown_lip_model_is_refused_with_the_list():
    clip = {"narration": "Hello.", "lip_sync": {"box": BOX, "model": "none"}}
    assert refusal(clip) == (
        "/clips/0/lip_sync/model",
        "there is no lip model 'none' here; choose one of: drawn-mouth, lips",
    )


def test_a_box_that_leaves_the_clip_is_refused():
    clip = {"narration": "Hello.", "lip_sync": {"box": {**BOX, "x": 800}}}
    assert refusal(clip) == (
        "/clips/0/lip_sync/box",
        "the box leaves the clip, which is 832x480; give a box inside it",
    )


def test_a_clip_that_is_held_for_its_narration_cannot_move_its_lips():
    pointer, detail = refusal({"narration": "Hello.", "lip_sync": {"box": BOX}}, fit_narration=True)
    assert pointer == "/fit_narration"
    assert "would stand still" in detail


def test_audio_without_lip_sync_is_refused_with_what_would_use_it():
    pointer, detail = refusal({"conditions": [AUDIO]})
    assert pointer == "/clips/0/conditions/0/role"
    assert "set lip_sync to move the lips of the clip by it" in detail


def test_a_sound_without_sound_is_refused():
    silent = {"role": "audio", "source": {"artifact_id": SILENT}}
    pointer, detail = refusal({"conditions": [silent], "lip_sync": {"box": BOX}})
    assert pointer == "/clips/0/conditions/0/source/artifact_id"
    assert detail == "this artifact is image; audio wants a sound"


def test_two_sounds_are_refused():
    assert refusal({"conditions": [AUDIO, AUDIO], "lip_sync": {"box": BOX}})[0] == "/clips/0/conditions/1/role"


@pytest.mark.parametrize("value", ["yes", 1, {"face": 1}, {"box": {"x": 1}}])
def test_a_lip_sync_of_another_form_is_refused(value: object):
    with pytest.raises(ValidationError) as refused:
        ReelRequest.model_validate({"clips": [{"prompt": "a", "lip_sync": value}]})
    assert {error["loc"][:3] for error in refused.value.errors()} == {("clips", 0, "lip_sync")}


def test_lips_that_are_switched_off_stay():
    assert admit({"narration": "Hello.", "lip_sync": False}).clips[0].lip_sync is None


def test_the_schema_of_lip_sync_is_a_switch_or_an_object():
    shown = ReelRequest.model_json_schema()["$defs"]["ClipRequest"]["properties"]["lip_sync"]
    assert shown["anyOf"] == [{"type": "boolean"}, {"$ref": "#/$defs/ClipLipsync"}]


def test_a_lip_model_and_an_upscaler_of_one_id_are_refused():
    upscalers = [load_catalog().interpolators["motion"]]
    lips = DRAWN.model_copy(update={"id": "motion"})
    with pytest.raises(CatalogError, match="lip model 'motion'"):
        Catalog([WAN], interpolators=upscalers, lip_models=[lips])
