"""Equal content keys stand for equal clips: whatever decides the pixels or the sound changes the key."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from builders import FROM_PREVIOUS, make_reel
from phoenix.contract import (
    ConditionSource,
    FaceRegion,
    ReelRequest,
    ResolvedClip,
    ResolvedClipLips,
    ResolvedCondition,
    ResolvedLora,
    ResolvedReel,
    ResolvedUpscale,
    ResolvedVoice,
    StoredEntry,
)
from phoenix.jobs.reuse import content_keys, find_earlier_work
from phoenix.settings import EngineSettings

ONE, TWO, COPY, UNKNOWN = (f"art_{number:026d}" for number in range(4))
HASHES = {ONE: "a" * 64, TWO: "b" * 64, COPY: "a" * 64}
DECIDING: Mapping[str, Mapping[str, Any]] = {
    "prompt": {"prompt": "another"},
    "negative prompt": {"negative_prompt": "text"},
    "seed": {"seed": 8},
    "steps": {"steps": 3},
    "guidance": {"guidance_scale": 2.5},
    "size": {"width": 64},
    "frames": {"num_frames": 5},
    "rate": {"fps": 8},
    "rate of the file": {"output_fps": 30},
    "sound": {"keeps_sound": False},
    "rendered alone": {"deterministic": True},
    "adapter": {"loras": [ResolvedLora(id="film", scale=1.0)]},
    "scale of the adapter": {"loras": [ResolvedLora(id="film", scale=0.5)]},
    "upscaler": {"upscale": ResolvedUpscale(id="sharp", scale=2, width=960, height=1708)},
    "interpolator": {"interpolate": "motion"},
    "lips": {"lip_sync": ResolvedClipLips(model="lips", follows="narration"), "narration": "Hello."},
    "face": {
        "lip_sync": ResolvedClipLips(model="lips", follows="narration", box=FaceRegion(x=1, y=1, width=32, height=32)),
        "narration": "Hello.",
    },
    "words of the lips": {"lip_sync": ResolvedClipLips(model="lips", follows="narration"), "narration": "Bye."},
    "sound of the lips": {"lip_sync": ResolvedClipLips(model="lips", follows="audio")},
}


def entry(fingerprint: str) -> StoredEntry:
    return StoredEntry(fingerprint=fingerprint, fields={})


def reel_of(*clips: ResolvedClip) -> ResolvedReel:
    numbered = [clip.model_copy(update={"index": index}) for index, clip in enumerate(clips)]
    changes = {
        "clips": numbered,
        "adapters": {"film": entry("f")},
        "postprocessors": {"sharp": entry("s"), "motion": entry("m"), "lips": entry("l")},
    }
    return make_reel().model_copy(update=changes)


def clip(**changes: Any) -> ResolvedClip:
    return make_reel().clips[0].model_copy(update=changes)


def with_input(artifact_id: str, **changes: Any) -> ResolvedClip:
    source = ConditionSource(artifact_id=artifact_id)
    return clip(conditions=[ResolvedCondition(**({"role": "first_frame", "source": source} | changes))])


def key_of(one: ResolvedClip) -> str | None:
    return content_keys(reel_of(one), HASHES).get(0)


def test_equal_clips_have_one_key_wherever_they_stand() -> None:
    keys = content_keys(reel_of(clip(), clip(prompt="another"), clip()), HASHES)

    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("name", DECIDING)
def test_what_decides_a_clip_changes_its_key(name: str) -> None:
    others = [key_of(clip(**changes)) for changes in DECIDING.values()]

    assert key_of(clip(**DECIDING[name])) not in (None, key_of(clip()))
    assert len(set(others)) == len(others)


def test_every_field_of_a_clip_is_looked_at() -> None:
    tried = {field for changes in DECIDING.values() for field in changes}

    assert set(ResolvedClip.model_fields) - tried == {"index", "height", "conditions", "take", "takes", "take_of"} | {
        "caption"
    }


def test_the_words_of_a_clip_decide_its_key_only_if_its_lips_say_them() -> None:
    assert key_of(clip(narration="Hello.")) == key_of(clip())


def test_the_voice_decides_a_clip_whose_lips_say_its_narration() -> None:
    said = clip(narration="Hello.", lip_sync=ResolvedClipLips(model="lips", follows="narration"))
    keys = {
        content_keys(reel_of(said).model_copy(update={"voice": ResolvedVoice(engine="espeak", name=name)}), HASHES)[0]
        for name in ("en", "de")
    }
    assert len(keys) == 2


@pytest.mark.parametrize("part", ["entry", "adapters", "postprocessors"])
def test_an_entry_of_the_catalog_that_has_changed_changes_the_key(part: str) -> None:
    reel = reel_of(clip(loras=[ResolvedLora(id="film", scale=1.0)], interpolate="motion"))
    new = {"entry": entry("new"), "adapters": {"film": entry("new")}, "postprocessors": {"motion": entry("new")}}

    changed = reel.model_copy(update={part: new[part]})

    assert content_keys(changed, HASHES)[0] != content_keys(reel, HASHES)[0]


def test_a_file_counts_by_its_content_and_not_by_its_id() -> None:
    assert key_of(with_input(ONE)) == key_of(with_input(COPY)) != key_of(with_input(TWO))


@pytest.mark.parametrize("changes", [{"role": "last_frame"}, {"at_s": 0.5}, {"strength": 0.5}, {"overlap_s": 0.5}])
def test_how_a_file_is_used_changes_the_key(changes: dict[str, Any]) -> None:
    assert key_of(with_input(ONE, **changes)) not in (None, key_of(with_input(ONE)))


def test_a_take_has_the_key_of_a_clip_with_its_seed() -> None:
    take = content_keys(make_reel(clips=[{"prompt": "a", "seed": 1, "takes": 2}]), {})[1]

    assert take == content_keys(make_reel(clips=[{"prompt": "a", "seed": 501}]), {})[0]


def test_a_clip_with_an_unknown_file_has_no_key() -> None:
    assert key_of(with_input(UNKNOWN)) is None


def test_a_continued_clip_depends_on_all_clips_before_it() -> None:
    keys = content_keys(make_reel(clips=[{"prompt": "a"}, FROM_PREVIOUS, FROM_PREVIOUS]), HASHES)
    others = content_keys(make_reel(clips=[{"prompt": "b"}, FROM_PREVIOUS, FROM_PREVIOUS]), HASHES)

    assert len({*keys.values(), *others.values()}) == 6


def test_a_request_of_an_earlier_version_has_no_keys() -> None:
    assert content_keys(make_reel().model_copy(update={"entry": None}), HASHES) == {}


def reusable(
    body: dict[str, Any], *, is_on: bool = True, edited_from: str | None = None, **changes: Any
) -> Collection[int]:
    request = ReelRequest.model_validate({"clips": [{"prompt": "a"}, {"prompt": "b", "seed": 3}]} | body)
    reel = make_reel("a", "b").model_copy(update=changes)
    return find_earlier_work(request, reel, EngineSettings(reuse_clips=is_on), edited_from=edited_from).reusable


def test_only_clips_with_a_chosen_seed_are_reused() -> None:
    assert reusable({}) == {1}
    assert reusable({"seed": 7}) == {0, 1}


def test_nothing_is_reused_that_must_not_be() -> None:
    assert not reusable({"reuse": False})
    assert not reusable({}, is_on=False)
    assert not reusable({}, is_remote=True)


def test_an_edit_keeps_the_clips_of_a_remote_model() -> None:
    assert reusable({}, is_remote=True, edited_from="job_1") == {1}
