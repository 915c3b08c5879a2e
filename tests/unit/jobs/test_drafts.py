"""The request of a draft: what it keeps of its reel, and what only the model of the reel takes."""

from typing import Any

import pytest

from builders import FROM_PREVIOUS
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.clip_postprocessing import puppet_face
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.resolve import Size
from phoenix.contract import ReelRequest, ResolvedReel
from phoenix.errors import FieldError
from phoenix.jobs.submission.drafts import draft_of, explain_draft_error

CATALOG = load_catalog()
WAN = "wan-2.2-t2v-a14b"


def admit(request: ReelRequest) -> ResolvedReel:
    return admit_reel(request, CATALOG, default_model="animatic", limits=AdmissionLimits(), draw_seed=lambda: 7)


def draft(*prompts: str, **body: Any) -> tuple[ResolvedReel, ResolvedReel]:
    """A reel, and its draft."""
    clips = body.pop("clips", [{"prompt": prompt} for prompt in prompts])
    request = ReelRequest.model_validate({"clips": clips, "hold": "draft", **body})
    reel = admit(request)
    return reel, admit(draft_of(request, reel, CATALOG))


def test_a_draft_has_the_prompts_the_seeds_and_the_lengths_of_its_reel() -> None:
    reel, made = draft("a", "b", model=WAN, seed=5, duration_s=3)

    assert made.model == "animatic"
    assert [(clip.prompt, clip.seed) for clip in made.clips] == [("a", 5), ("b", 6)]
    lengths = [clip.duration_s for clip in reel.clips]
    assert [clip.duration_s for clip in made.clips] == pytest.approx(lengths, abs=1 / 16)


def test_a_draft_has_drawn_seeds_too() -> None:
    reel, made = draft("a", model=WAN)

    assert (reel.clips[0].seed, made.clips[0].seed) == (7, 7)


def test_a_draft_has_the_joins_and_the_sound_of_its_reel() -> None:
    fade, sound = {"kind": "crossfade", "duration_s": 0.5}, {"url": "https://example.com/a.mp3"}
    reel, made = draft("a", "b", model=WAN, transition=fade, soundtrack=sound)

    assert (made.transition, made.soundtrack) == (reel.transition, reel.soundtrack)


def test_a_draft_has_the_shape_of_its_reel() -> None:
    _, made = draft("a", model=WAN, aspect_ratio="9:16")

    assert made.aspect_ratio == "9:16"


BOX = {"x": 10, "y": 10, "width": 64, "height": 64}


def test_a_draft_says_the_words_of_its_reel_with_the_lips_of_a_puppet() -> None:
    clip = {"prompt": "a", "narration": "Hello.", "lip_sync": {"box": BOX}}
    _, made = draft(clips=[clip], model=WAN)

    (lips,) = [clip.lip_sync for clip in made.clips]
    assert lips is not None
    assert lips.box == puppet_face(Size(made.width, made.height))


def test_a_draft_of_another_size_does_not_guess_where_the_face_is() -> None:
    clip = {"prompt": "a", "narration": "Hello.", "lip_sync": {"box": BOX}}
    _, made = draft(clips=[clip], model=WAN, draft={"quality": "draft"})

    assert made.clips[0].lip_sync is None


def test_a_tier_alone_is_a_tier_of_the_same_model() -> None:
    reel, made = draft("a", quality="high", draft={"quality": "draft"})

    assert (made.model, made.quality) == (reel.model, "draft")
    assert made.clips[0].steps < reel.clips[0].steps


def test_steps_of_the_reel_are_not_steps_of_the_draft() -> None:
    reel, made = draft("a", steps=33)

    assert (reel.clips[0].steps, made.clips[0].steps) == (33, 20)


def test_a_draft_shows_the_take_that_the_reel_shows() -> None:
    reel, made = draft(clips=[{"prompt": "a", "takes": 3, "take": 2}])

    assert len(made.renders) == 1
    assert made.clips[0].seed == reel.clips[0].seed


def test_a_draft_keeps_the_conditions_that_its_model_takes() -> None:
    _, made = draft(clips=[{"prompt": "a"}, FROM_PREVIOUS])

    assert [condition.role for condition in made.clips[1].conditions] == ["first_frame"]


def test_a_draft_leaves_out_conditions_that_its_model_does_not_take() -> None:
    last = {"role": "last_frame", "source": {"previous_clip": True}}
    request = ReelRequest.model_validate({"clips": [{"prompt": "a"}, FROM_PREVIOUS], "hold": "draft"})
    reel = admit(request)
    clip = reel.clips[1]
    with_last = clip.model_copy(update={"conditions": [clip.conditions[0].model_copy(update={"role": last["role"]})]})

    made = draft_of(request, reel.model_copy(update={"clips": [reel.clips[0], with_last]}), CATALOG)

    assert made.clips[1].conditions == []


def test_an_error_of_a_draft_is_an_error_of_the_field_that_asks_for_it() -> None:
    explained = explain_draft_error(FieldError("/clips/0/duration_s", "too long"))

    assert explained.pointer == "/draft"
    assert "/clips/0/duration_s: too long" in explained.detail


def test_options_of_a_draft_need_a_hold() -> None:
    with pytest.raises(ValueError, match="draft needs hold"):
        ReelRequest.model_validate({"clips": [{"prompt": "a"}], "draft": {"quality": "draft"}})
