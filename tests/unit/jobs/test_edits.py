"""What an edit makes of a request: the changed clips, in their order, and everything else as it was."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import FROM_PREVIOUS, make_reel
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import EditRequest, ReelRequest, ResolvedReel
from phoenix.errors import FieldError, InvalidRequest
from phoenix.jobs.reuse import content_keys
from phoenix.jobs.submission.edits import EditedReel, as_requested, edit_reel

CATALOG = load_catalog()
SEEDS = count(1000)
SIDES = {"width": 64, "height": 64}


def edit(reel: ResolvedReel, *clips: dict[str, Any], **changes: Any) -> EditedReel:
    request = EditRequest.model_validate({"clips": list(clips), **changes})
    return edit_reel(reel, request, CATALOG, draw_seed=lambda: next(SEEDS))


def admit(request: ReelRequest, default_model: str = "animatic") -> ResolvedReel:
    return admit_reel(request, CATALOG, default_model=default_model, limits=AdmissionLimits(), draw_seed=lambda: 1)


def prompts(edited: EditedReel) -> str:
    return "".join(clip.prompt for clip in edited.request.clips)


def errors_of(reel: ResolvedReel, *clips: dict[str, Any], **changes: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        edit(reel, *clips, **changes)
    return [error.pointer for error in refused.value.field_errors]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"op": "replace", "index": 1, "clip": {"prompt": "x"}}, "axc"),
        ({"op": "reroll", "index": 1}, "abc"),
        ({"op": "insert", "index": 0, "clip": {"prompt": "x"}}, "xabc"),
        ({"op": "insert", "index": 3, "clip": {"prompt": "x"}}, "abcx"),
        ({"op": "remove", "index": 0}, "bc"),
        ({"op": "move", "index": 0, "to": 2}, "bca"),
        ({"op": "move", "index": 2, "to": 1}, "acb"),
    ],
)
def test_a_change_changes_the_clips_as_it_says(change: dict[str, Any], left: str) -> None:
    assert prompts(edit(make_reel("a", "b", "c"), change)) == left


def test_an_index_counts_the_clips_as_the_changes_before_it_have_left_them() -> None:
    edited = edit(make_reel("a", "b", "c"), {"op": "remove", "index": 0}, {"op": "remove", "index": 0})

    assert prompts(edited) == "c"


def test_a_replaced_clip_keeps_what_the_new_one_leaves_out() -> None:
    reel = make_reel(clips=[{"prompt": "a", "duration_s": 2, "seed": 5, "steps": 3}])
    (clip,) = edit(reel, {"op": "replace", "index": 0, "clip": {"prompt": "x", "steps": 4}}).request.clips

    assert (clip.prompt, clip.duration_s, clip.seed, clip.steps) == ("x", 2, 5, 4)


def test_a_replaced_clip_keeps_its_conditions_unless_the_new_one_has_its_own() -> None:
    reel = make_reel(clips=[{"prompt": "a"}, FROM_PREVIOUS])
    change: dict[str, Any] = {"op": "replace", "index": 1, "clip": {"prompt": "x"}}
    kept = edit(reel, change)
    dropped = edit(reel, {**change, "clip": {"prompt": "x", "conditions": []}})

    assert [len(each.request.clips[1].conditions) for each in (kept, dropped)] == [1, 0]


def test_an_inserted_clip_takes_what_all_others_have_in_common() -> None:
    reel = make_reel(clips=[{"prompt": "a", "steps": 3}, {"prompt": "b", "steps": 4}], duration_s=2)
    clip = edit(reel, {"op": "insert", "index": 1, "clip": {"prompt": "x"}}).request.clips[1]

    assert (clip.duration_s, clip.steps) == (2, None)


def test_a_rerolled_clip_has_the_given_seed_or_a_new_one() -> None:
    reel = make_reel(clips=[{"prompt": "a", "seed": 5}])
    drawn = iter([5, 6])
    request = EditRequest.model_validate({"clips": [{"op": "reroll", "index": 0}]})

    assert edit_reel(reel, request, CATALOG, draw_seed=lambda: next(drawn)).request.clips[0].seed == 6
    assert edit(reel, {"op": "reroll", "index": 0, "seed": 9}).request.clips[0].seed == 9


@pytest.mark.parametrize(
    ("clips", "pointers"),
    [
        ([{"op": "reroll", "index": 2}], ["/clips/0/index"]),
        ([{"op": "insert", "index": 3, "clip": {"prompt": "x"}}], ["/clips/0/index"]),
        ([{"op": "move", "index": 0, "to": 2}], ["/clips/0/to"]),
        ([{"op": "take", "index": 1, "take": 1}], ["/clips/0/take"]),
        ([{"op": "remove", "index": 0}, {"op": "remove", "index": 0}], ["/clips"]),
        ([{"op": "remove", "index": 9}, {"op": "reroll", "index": 9}], ["/clips/0/index", "/clips/1/index"]),
        ([{"op": "insert", "index": 0, "clip": {"prompt": "x"}}] * 499, ["/clips"]),
    ],
)
def test_a_change_that_the_clips_do_not_allow_is_named(clips: list[dict[str, Any]], pointers: list[str]) -> None:
    assert errors_of(make_reel("a", "b"), *clips) == pointers


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"clips": []},
        {"clips": [{"op": "replace", "index": 0}]},
        {"clips": [{"op": "move", "index": 0}]},
        {"clips": [{"op": "take", "index": 0}]},
        {"clips": [{"op": "remove", "index": 0, "to": 1}]},
        {"clips": [{"op": "remove", "index": -1}]},
        {"drop_soundtrack": True, "soundtrack": {"url": "https://example.com/a.mp3"}},
    ],
)
def test_an_edit_that_says_nothing_or_too_much_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EditRequest.model_validate(body)


REELS = [
    make_reel("a", "b", seed=3),
    make_reel("a", aspect_ratio="9:16", resolution="360p", fps=10, steps=7, guidance_scale=2, negative_prompt="n"),
    make_reel(clips=[{"prompt": "a"}, FROM_PREVIOUS], clip_sound="drop", deterministic=True),
    make_reel("a", "b", transition={"kind": "crossfade", "duration_s": 0.25}, interpolate="motion", fps=30),
    make_reel(clips=[{"prompt": "a", "narration": "Hi.", "lip_sync": True}, {"prompt": "b"}]),
    make_reel(clips=[{"prompt": "a", "narration": "Hi.", "lip_sync": {"box": dict.fromkeys(("x", "y"), 5) | SIDES}}]),
    make_reel("a", soundtrack={"url": "https://example.com/a.mp3", "fade_in_s": 0.5}),
]


@pytest.mark.parametrize("number", range(len(REELS)))
def test_a_reel_as_it_was_requested_is_the_same_reel(number: int) -> None:
    again = admit(as_requested(REELS[number], CATALOG))

    assert again.model_copy(update={"adjustments": []}) == REELS[number].model_copy(update={"adjustments": []})


def test_every_model_of_the_catalog_gives_the_same_reel_again_at_every_tier() -> None:
    for model in CATALOG:
        for quality in model.qualities:
            if any(rule.minimum for rule in model.conditions.values()):
                continue
            body = ReelRequest.model_validate({"clips": [{"prompt": "a", "seed": 2}], "quality": quality})
            reel = admit(body, model.id)
            again = admit(as_requested(reel, CATALOG), model.id)
            assert content_keys(again, {}) == content_keys(reel, {}), (model.id, quality)


def test_an_edit_stops_the_lips_of_a_clip_or_leaves_them() -> None:
    reel = make_reel(clips=[{"prompt": "a", "narration": "Hi.", "lip_sync": True}])
    stopped, left = (
        edit(reel, {"op": "replace", "index": 0, "clip": {"prompt": "b", **lips}}).request.clips[0].lip_sync
        for lips in ({"lip_sync": False}, {})
    )
    assert stopped is None
    assert left is not None


def test_the_lips_of_a_puppet_fit_a_clip_of_another_size() -> None:
    reel = make_reel(clips=[{"prompt": "a", "narration": "Hi.", "lip_sync": True}], resolution="240p")
    lips = admit(edit(reel, resolution="480p").request).clips[0].lip_sync
    assert lips is not None
    assert lips.box is not None
    assert lips.box.height == pytest.approx(0.44 * 480, abs=1)


def test_another_model_gets_prompts_seeds_and_lengths_and_decides_what_the_first_decided() -> None:
    reel = make_reel("a", "b", seed=3, steps=9)
    final = admit(edit(reel, model="wan-2.1-t2v-1.3b").request)
    wan = CATALOG.get("wan-2.1-t2v-1.3b")

    assert [(clip.prompt, clip.seed, clip.steps) for clip in final.clips] == [("a", 3, 9), ("b", 4, 9)]
    assert [round(clip.duration_s, 1) for clip in final.clips] == [1.1, 1.1]
    assert (final.clips[0].guidance_scale, final.resolution) == (
        wan.guidance_scale.default,
        wan.size.default_resolution,
    )


def test_the_soundtrack_can_be_replaced_and_dropped() -> None:
    reel = make_reel("a", soundtrack={"url": "https://example.com/a.mp3"})
    replaced = edit(reel, soundtrack={"url": "https://example.com/b.mp3"}).request.soundtrack

    assert str(replaced and replaced.url) == "https://example.com/b.mp3"
    assert edit(reel, drop_soundtrack=True).request.soundtrack is None


def test_title_tags_and_metadata_stay_unless_the_edit_has_its_own() -> None:
    original: dict[str, Any] = {"title": "First", "tags": ["sea"], "metadata": {"customer": "42"}}

    def options(**changes: Any) -> tuple[object, object, object]:
        request = EditRequest.model_validate({"clips": [{"op": "reroll", "index": 0}], **changes})
        edited = edit_reel(make_reel(), request, CATALOG, draw_seed=lambda: 1, **original).request
        return edited.title, edited.tags, edited.metadata

    assert options() == ("First", ["sea"], {"customer": "42"})
    assert options(title="Second", tags=[], metadata={}) == ("Second", [], {})


@pytest.mark.parametrize(
    ("pointer", "explained"),
    [
        ("/clips/0/duration_s", "/clips"),
        ("/clips/1/duration_s", "/clips/0/clip/duration_s"),
        ("/clips/1/steps", "/clips/0"),
        ("/clips/2/conditions/0/role", "/clips"),
        ("/clips", "/clips"),
        ("/transition/duration_s", "/transition/duration_s"),
        ("/upscale/id", "/model"),
    ],
)
def test_an_error_of_the_new_request_is_an_error_of_the_edit(pointer: str, explained: str) -> None:
    change = {"op": "insert", "index": 1, "clip": {"prompt": "x", "duration_s": 99}}
    (error,) = edit(make_reel("a", "b"), change).explain([FieldError(pointer, "too long")])

    assert error.pointer == explained


def changes_of(draw: Any) -> Iterator[dict[str, Any]]:
    """Changes that are possible on three clips and what the changes make of them."""
    left = 3
    for _ in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(["replace", "reroll", "insert", "remove", "move"] if left > 1 else ["insert"]))
        index = draw(st.integers(0, left if op == "insert" else left - 1))
        change = {"op": op, "index": index}
        if op in ("replace", "insert"):
            change["clip"] = {"prompt": draw(st.sampled_from("xyz"))}
        if op == "move":
            change["to"] = draw(st.integers(0, left - 1))
        left += (op == "insert") - (op == "remove")
        yield change


@st.composite
def edits(draw: Any) -> Sequence[dict[str, Any]]:
    return list(changes_of(draw))


def apply_to_list(clips: list[object], change: dict[str, Any], new: object) -> list[object]:
    """The meaning of the changes, on a plain list."""
    match change["op"]:
        case "insert":
            clips.insert(change["index"], new)
        case "remove":
            clips.pop(change["index"])
        case "move":
            clips.insert(change["to"], clips.pop(change["index"]))
        case _:
            clips[change["index"]] = new
    return clips


@settings(max_examples=60, deadline=None)
@given(edits())
def test_any_edit_leaves_the_other_clips_with_their_keys_and_their_order(changes: Sequence[dict[str, Any]]) -> None:
    reel = make_reel("a", "b", "c", seed=3)
    before = content_keys(reel, {})
    expected: list[object] = list(before.values())
    for change in changes:
        expected = apply_to_list(expected, change, None)

    after = content_keys(admit(edit(reel, *changes).request), {})

    assert [after[index] if kept else None for index, kept in enumerate(expected)] == expected
    assert not {after[index] for index, kept in enumerate(expected) if kept is None} & set(before.values())
