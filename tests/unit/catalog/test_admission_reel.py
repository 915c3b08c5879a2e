"""What becomes of a reel request: defaults, roundings and refusals."""

from typing import Any

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import MediaInfo, ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

CATALOG = load_catalog()
WAN = "wan-2.1-t2v-1.3b"
IMAGE_ID = "art_01kag3e9zq4f7w5m8x2c6b0n1d"
SOUND_ID = "art_01kag3e9zq4f7w5m8x2c6b0n2d"


def admit(*, limit_s: float = 600, drawn_seed: int = 1000, media: Any = None, **body: Any) -> ResolvedReel:
    body.setdefault("clips", [{"prompt": "a fox"}])
    return admit_reel(
        ReelRequest.model_validate(body),
        CATALOG,
        default_model="animatic",
        limits=AdmissionLimits(max_reel_duration_s=limit_s),
        draw_seed=lambda: drawn_seed,
        media=media,
    )


def errors_of(**body: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        admit(**body)
    return {error.pointer: error.detail for error in refused.value.field_errors}


def test_one_prompt_is_enough():
    reel = admit()
    assert (reel.model, reel.width, reel.height, reel.fps) == ("animatic", 854, 480, 16)
    (clip,) = reel.clips
    assert (clip.prompt, clip.num_frames, clip.steps, clip.guidance_scale) == ("a fox", 48, 20, 5)
    assert reel.adjustments == []


def test_a_clip_overrides_the_reel_and_the_reel_the_model():
    reel = admit(
        steps=30,
        negative_prompt="text",
        duration_s=2,
        clips=[{"prompt": "a"}, {"prompt": "b", "steps": 40, "negative_prompt": "", "duration_s": 1}],
    )
    assert [clip.steps for clip in reel.clips] == [30, 40]
    assert [clip.negative_prompt for clip in reel.clips] == ["text", ""]
    assert [clip.num_frames for clip in reel.clips] == [32, 16]


def test_a_negative_prompt_is_the_one_of_the_entry_unless_a_request_has_one():
    clips = [{"prompt": "a"}, {"prompt": "b", "negative_prompt": "text"}, {"prompt": "c", "negative_prompt": ""}]
    default, own, none = (clip.negative_prompt for clip in admit(model=WAN, clips=clips).clips)
    assert default.startswith("Bright tones, overexposed")
    assert (own, none) == ("text", "")


def test_a_negative_prompt_without_guidance_is_reported_and_left_out():
    reel = admit(model=WAN, guidance_scale=1, negative_prompt="text")
    assert reel.clips[0].negative_prompt == ""
    (adjustment,) = reel.adjustments
    assert adjustment.reason == f"{WAN} reads no negative prompt at a guidance scale of 1: ask for more than 1"
    kept = [admit(model=WAN, negative_prompt="text"), admit(model="ltx-2", guidance_scale=1, negative_prompt="text")]
    assert [(each.clips[0].negative_prompt, each.adjustments) for each in kept] == [("text", []), ("text", [])]


def test_a_negative_prompt_that_the_model_does_not_read_is_reported_and_left_out():
    reel = admit(model="hunyuanvideo", negative_prompt="text", clips=[{"prompt": "a"}, {"prompt": "b"}])
    assert [clip.negative_prompt for clip in reel.clips] == ["", ""]
    (adjustment,) = reel.adjustments
    assert (adjustment.pointer, adjustment.requested, adjustment.resolved) == ("/negative_prompt", "text", "")
    assert adjustment.reason == "hunyuanvideo reads no negative prompt"


def test_clips_count_their_seeds_up_from_the_reels():
    reel = admit(seed=7, clips=[{"prompt": "a"}, {"prompt": "b", "seed": 0}, {"prompt": "c"}])
    assert [clip.seed for clip in reel.clips] == [7, 0, 9]


def test_seeds_wrap_around_at_32_bits():
    reel = admit(seed=2**32 - 1, clips=[{"prompt": "a"}, {"prompt": "b"}])
    assert [clip.seed for clip in reel.clips] == [2**32 - 1, 0]


def test_a_reel_without_a_seed_gets_a_drawn_one_and_says_which():
    assert [clip.seed for clip in admit(drawn_seed=5, clips=[{"prompt": "a"}, {"prompt": "b"}]).clips] == [5, 6]


def test_a_reel_seed_of_zero_is_a_seed():
    assert admit(seed=0, drawn_seed=5).clips[0].seed == 0


def test_a_duration_is_rounded_to_the_nearest_frame_count_and_says_so():
    reel = admit(model=WAN, clips=[{"prompt": "a", "duration_s": 5}])
    assert reel.clips[0].num_frames == 81
    (adjustment,) = reel.adjustments
    assert adjustment.pointer == "/clips/0/duration_s"
    assert (adjustment.requested, adjustment.resolved) == ("5 s (80 frames at 16 fps)", "5.0625 s (81 frames)")
    assert "4k+1" in adjustment.reason


def test_a_duration_set_on_the_reel_is_adjusted_once_for_all_clips():
    reel = admit(model=WAN, duration_s=5, clips=[{"prompt": "a"}, {"prompt": "b"}])
    assert [adjustment.pointer for adjustment in reel.adjustments] == ["/duration_s"]


def test_a_duration_of_whole_frames_is_not_an_adjustment():
    assert admit(fps=30, duration_s=0.1).clips[0].num_frames == 3
    assert admit(fps=30, duration_s=0.1).adjustments == []


def test_a_size_is_rounded_to_one_the_model_makes_and_says_so():
    reel = admit(model=WAN, resolution="480p", aspect_ratio="9:16")
    assert (reel.width, reel.height) == (480, 832)
    (adjustment,) = reel.adjustments
    assert adjustment.pointer == "/resolution"
    assert adjustment.resolved == "480x832"


def test_a_rate_that_the_model_does_not_make_is_met_by_conversion():
    reel = admit(model=WAN, fps=24, duration_s=2.0625)
    [clip] = reel.clips
    assert (reel.fps, clip.fps, clip.output_fps) == (24, 16, 24)
    assert (clip.num_frames, clip.duration_s, clip.num_output_frames) == (33, 2.0625, 50)
    [adjustment] = reel.adjustments
    assert (adjustment.pointer, adjustment.resolved) == ("/fps", "24 fps, converted from 16")


@pytest.mark.parametrize("fps", [None, 16])
def test_a_rate_that_the_model_makes_is_kept(fps):
    reel = admit(model=WAN) if fps is None else admit(model=WAN, fps=fps)
    [clip] = reel.clips
    assert (reel.fps, clip.fps, clip.output_fps, reel.adjustments) == (16, 16, None, [])


def test_of_several_rates_of_a_model_the_nearest_is_converted():
    [clip] = admit(model="ltx-2", fps=60).clips
    assert (clip.fps, clip.output_fps) == (30, 60)


def test_a_size_nobody_asked_for_is_not_an_adjustment():
    assert admit(model=WAN).adjustments == []


def test_every_fault_is_reported_at_once_with_its_pointer():
    errors = errors_of(
        model=WAN,
        resolution="1080p",
        aspect_ratio="21:9",
        guidance_scale=40,
        clips=[
            {"prompt": "a", "steps": 500},
            {"prompt": "b", "duration_s": 60},
            {"prompt": "c", "conditions": [{"role": "mask", "source": {"artifact_id": IMAGE_ID}}]},
        ],
    )
    assert list(errors) == [
        "/resolution",
        "/aspect_ratio",
        "/clips/0/steps",
        "/guidance_scale",
        "/clips/1/duration_s",
        "/clips/2/conditions/0/role",
    ]


def test_a_fault_on_the_reel_is_reported_once_however_many_clips_it_has():
    with pytest.raises(InvalidRequest) as refused:
        admit(model=WAN, steps=500, clips=[{"prompt": "a"}, {"prompt": "b"}])
    assert [error.pointer for error in refused.value.field_errors] == ["/steps"]


@pytest.mark.parametrize(
    ("body", "pointer", "advice"),
    [
        ({"model": "sora"}, "/model", "choose one of: animatic, wan-2.1-t2v-1.3b"),
        ({"model": WAN, "resolution": "720p"}, "/resolution", "makes 480p; choose one of them"),
        ({"model": WAN, "steps": 101}, "/steps", "1 to 100 here; the nearest is 100"),
        ({"model": WAN, "guidance_scale": 0.5}, "/guidance_scale", "the nearest is 1"),
        ({"model": WAN, "duration_s": 6}, "/duration_s", "0.313 to 5.062 s at 16 fps; the nearest is 5.062 s"),
        ({"model": WAN, "duration_s": 0.1}, "/duration_s", "the nearest is 0.313 s"),
        ({"duration_s": 31}, "/duration_s", "0.063 to 30.0 s at 16 fps"),
    ],
)
def test_a_refusal_says_what_would_be_accepted(body, pointer, advice):
    assert advice in errors_of(**body)[pointer]


@pytest.mark.parametrize("duration_s", [0.313, 5.062])
def test_the_durations_named_in_a_refusal_are_themselves_accepted(duration_s):
    assert admit(model=WAN, duration_s=duration_s).clips[0].num_frames in (5, 81)


def test_a_reel_longer_than_the_server_allows_is_refused():
    errors = errors_of(limit_s=5, clips=[{"prompt": "a", "duration_s": 3}, {"prompt": "b", "duration_s": 3}])
    assert "6 s long" in errors["/clips"]
    assert "at most 5 s" in errors["/clips"]


def test_crossfades_shorten_the_reel_that_is_measured():
    reel = admit(
        limit_s=5,
        transition={"kind": "crossfade", "duration_s": 1},
        clips=[{"prompt": "a", "duration_s": 3}, {"prompt": "b", "duration_s": 3}],
    )
    assert len(reel.clips) == 2


def test_a_crossfade_longer_than_half_of_the_shortest_clip_is_refused():
    errors = errors_of(
        transition={"kind": "crossfade", "duration_s": 0.6},
        clips=[{"prompt": "a", "duration_s": 3}, {"prompt": "b", "duration_s": 1}],
    )
    assert "here 0.5 s" in errors["/transition/duration_s"]


def test_a_crossfade_of_a_single_clip_is_no_fault():
    admit(transition={"kind": "crossfade", "duration_s": 5}, duration_s=1)


def test_a_cut_has_no_length_to_be_too_long():
    admit(transition={"kind": "cut", "duration_s": 5}, duration_s=1, clips=[{"prompt": "a"}, {"prompt": "b"}])


def test_fades_longer_than_the_reel_are_refused():
    errors = errors_of(duration_s=3, soundtrack={"artifact_id": SOUND_ID, "fade_in_s": 2, "fade_out_s": 2})
    assert "the fades take 4 s and the result is 3 s long" in errors["/soundtrack/fade_out_s"]


def test_references_to_artifacts_that_are_not_the_callers_are_refused():
    errors = errors_of(media={}, soundtrack={"artifact_id": SOUND_ID})
    assert "no artifact" in errors["/soundtrack/artifact_id"]


@pytest.mark.parametrize("info", [MediaInfo(media="image", format="png"), MediaInfo(media="video", format="mp4")])
def test_a_soundtrack_without_sound_is_refused(info):
    errors = errors_of(media={SOUND_ID: info}, soundtrack={"artifact_id": SOUND_ID})
    assert "no sound" in errors["/soundtrack/artifact_id"]


def test_a_soundtrack_that_would_begin_after_its_end_is_refused():
    info = MediaInfo(media="audio", format="mp3", duration_s=10)
    assert "/soundtrack/start_s" in errors_of(
        media={SOUND_ID: info}, soundtrack={"artifact_id": SOUND_ID, "start_s": 10}
    )


def test_a_soundtrack_of_a_video_with_sound_is_taken():
    info = MediaInfo(media="video", format="mp4", audio_codec="aac", duration_s=10)
    assert admit(media={SOUND_ID: info}, soundtrack={"artifact_id": SOUND_ID}).soundtrack is not None


@pytest.mark.parametrize("is_asked", [False, True])
def test_every_clip_is_rendered_alone_if_the_reel_asks_for_it(is_asked: bool):
    reel = admit(deterministic=is_asked, clips=[{"prompt": "a"}, {"prompt": "b"}])
    assert [clip.deterministic for clip in reel.clips] == [is_asked, is_asked]


@pytest.mark.parametrize(("body", "clip_sound"), [({}, "keep"), ({"clip_sound": "drop"}, "drop")])
def test_the_sound_of_clips_is_kept_unless_the_reel_drops_it(body: dict[str, str], clip_sound: str):
    reel = admit(**body)
    assert reel.clip_sound == clip_sound
    assert [clip.keeps_sound for clip in reel.clips] == [clip_sound == "keep"]


def test_a_reel_of_a_remote_model_is_for_the_remote_workers():
    remote = next(model.id for model in CATALOG if model.is_remote)
    assert [admit(model=model).is_remote for model in (remote, "animatic")] == [True, False]
