"""The planner without a language model: beats, framings, and reels that every model takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.contract import CharacterRequest, ReelRequest, StoryboardRequest
from phoenix.storyboards.limits import fit_request
from phoenix.storyboards.llm_planner import Talk, draft_from
from phoenix.storyboards.plan import Plan
from phoenix.storyboards.template import plan_by_template, split_beats, spread_beats

CATALOG: Catalog = load_catalog()
MIA = CharacterRequest(name="Mia", description="a girl with a yellow raincoat")
TEXTS = {"caption": True, "narrate": True}
REX = CharacterRequest(name="Rex", description="a small white dog")


def plan(idea: str, *wishes: str, **fields: object) -> Plan:
    request = StoryboardRequest.model_validate({"idea": idea, **fields})
    limits = fit_request(request, CATALOG, default_model="animatic", max_reel_s=600)
    return plan_by_template(request, wishes, limits)


@pytest.mark.parametrize(
    ("text", "beats"),
    [
        ("One. Two! Three", ["One", "Two!", "Three"]),
        ("A boat leaves, then it sinks", ["A boat leaves", "it sinks"]),
        ("A boat leaves. Then it sinks.", ["A boat leaves", "it sinks"]),
        ("One\nTwo", ["One", "Two"]),
        ("...", ["..."]),
    ],
)
def test_an_idea_is_cut_into_sentences_and_steps(text: str, beats: list[str]) -> None:
    assert split_beats(text) == beats


@pytest.mark.parametrize(
    ("count", "texts"),
    [(2, ["a", "b; c"]), (3, ["a", "b", "c"]), (6, ["a", "a", "b", "b", "c", "c"]), (1, ["a; b; c"])],
)
def test_beats_are_spread_over_the_clips_in_order(count: int, texts: list[str]) -> None:
    assert spread_beats(["a", "b", "c"], count) == texts


def test_a_short_idea_has_a_beginning_a_middle_and_an_end() -> None:
    texts = [clip.text for clip in plan("a red balloon").clips]

    assert len(set(texts)) == 3
    assert all("a red balloon" in text for text in texts)


def test_each_beat_is_a_clip_and_messages_come_last() -> None:
    clips = plan("One. Two. Three.", "Four").clips

    assert [clip.text.partition(": ")[2] for clip in clips] == ["One", "Two", "Three", "Four"]


def test_a_clip_has_the_characters_that_it_names_and_all_of_them_if_nobody_is_named() -> None:
    named = plan("Mia runs. Rex barks. Mialand sleeps.", characters=[MIA, REX]).clips
    unnamed = plan("They run.", characters=[MIA, REX]).clips

    assert [clip.characters for clip in named] == [("Mia",), ("Rex",), ()]
    assert {clip.characters for clip in unnamed} == {("Mia", "Rex")}


def test_it_says_that_it_is_a_template() -> None:
    assert "no language model" in plan("x").message
    assert "added to it as they are" in plan("x", "y").message


def test_a_beat_is_told_once_and_cut_to_the_length_of_its_clip() -> None:
    clips = plan("a red balloon leaves the old harbour", num_clips=3, duration_s=2, **TEXTS).clips

    assert [clip.caption for clip in clips] == ["a red balloon leaves the old harbour", "", ""]
    assert [clip.narration for clip in clips] == ["a red balloon leaves", "", ""]


@given(
    idea=st.text(min_size=1, max_size=4000).filter(lambda text: text.strip() and "\0" not in text),
    model=st.sampled_from([spec.id for spec in CATALOG if not spec.needed_roles]),
    num_clips=st.none() | st.integers(1, 60),
    duration_s=st.none() | st.floats(0.01, 600),
    aspect_ratio=st.sampled_from([None, "16:9", "9:16", "1:1", "4:3", "3:4", "21:9"]),
    max_reel_s=st.sampled_from([20.0, 600.0]),
)
def test_every_reel_of_a_template_is_accepted(
    idea: str, model: str, num_clips: int | None, duration_s: float | None, aspect_ratio: str | None, max_reel_s: float
) -> None:
    fields = {"model": model, "num_clips": num_clips, "duration_s": duration_s, "aspect_ratio": aspect_ratio}
    people = [{"name": "N" * 59 + str(n), "description": "d" * 200} for n in range(8)]
    request = StoryboardRequest.model_validate(
        {"idea": idea, "style": "s" * 400, "characters": people, **fields, **TEXTS}
    )
    limits = fit_request(request, CATALOG, default_model="animatic", max_reel_s=max_reel_s)

    reel = ReelRequest.model_validate(draft_from(plan_by_template(request, (), limits), Talk(request, limits), CATALOG))

    assert len(reel.clips) == limits.num_clips or num_clips is None
