"""What is read from the text of a language model, and the schema that it is held to."""

import json
from typing import Any

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.contract import ClipRequest, ReelRequest, StoryboardRequest
from phoenix.errors import FieldError, InvalidRequest
from phoenix.storyboards.limits import fit_request
from phoenix.storyboards.prompting import chat_about
from phoenix.storyboards.script import (
    MAX_FAULTS,
    Script,
    explain_faults,
    find_faults,
    read_script,
    script_of,
    script_schema,
)

CATALOG = load_catalog()
TEXTS = {"caption": True, "narrate": True}
SCRIPT = {"title": "t", "message": "m", "clips": [{"prompt": "p"}]}


def schema_of(**fields: Any) -> dict[str, Any]:
    request = StoryboardRequest.model_validate({"idea": "x", **fields})
    return script_schema(request, fit_request(request, CATALOG, default_model="animatic", max_reel_s=600))


def objects_in(node: Any) -> list[dict[str, Any]]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    found = [node] if isinstance(node, dict) and node.get("type") == "object" else []
    return found + [each for child in children for each in objects_in(child)]


def test_the_schema_is_strict_in_every_object() -> None:
    objects = objects_in(schema_of())

    assert len(objects) == 3
    assert all(each["additionalProperties"] is False for each in objects)
    assert all(each["required"] == list(each["properties"]) for each in objects)


def test_what_the_user_has_decided_is_not_asked_for() -> None:
    free, bound = schema_of(), schema_of(style="ink", duration_s=3)

    assert ("style" in free["properties"], "style" in bound["properties"]) == (True, False)
    clips = [each["properties"]["clips"]["items"]["properties"] for each in (free, bound)]
    assert ["duration_s" in each for each in clips] == [True, False]


def test_the_fields_of_a_clip_are_those_of_the_reel() -> None:
    clip = schema_of()["properties"]["clips"]["items"]["properties"]

    assert set(clip) - {"characters"} <= set(ClipRequest.model_fields)
    assert clip["duration_s"]["minimum"] < clip["duration_s"]["maximum"]


def faults_of(*clips: dict[str, Any], **fields: Any) -> list[str]:
    request = StoryboardRequest.model_validate({"idea": "x", **fields})
    limits = fit_request(request, CATALOG, default_model="animatic", max_reel_s=600)
    script = Script.model_validate(SCRIPT | {"clips": [{"prompt": "p", "duration_s": 2} | clip for clip in clips]})
    return [f"{fault.pointer}: {fault.detail}" for fault in find_faults(script, request, limits)]


def test_captions_and_narration_are_asked_for_where_the_user_wishes_them() -> None:
    fields = [schema_of(**wish)["properties"]["clips"]["items"]["properties"] for wish in ({}, TEXTS)]

    assert set(fields[1]) - set(fields[0]) == {"caption", "narration"}


def test_texts_that_were_wished_for_and_are_nowhere_are_a_fault() -> None:
    assert len(faults_of({"narration": " "}, {}, **TEXTS)) == 2
    assert faults_of({"narration": "one", "caption": "two"}, {}, **TEXTS) == []
    assert faults_of({}, {}) == []


def test_narration_that_no_voice_says_within_its_clip_is_a_fault() -> None:
    found = faults_of({"narration": "a b c d e f"}, {"narration": "a b c d e f g"}, narrate=True)

    assert found == ["/clips/1/narration: a clip of 2 s has time for 4 words, and these are 7"]


def test_a_reel_that_the_user_has_changed_is_shown_with_its_texts() -> None:
    reel = ReelRequest.model_validate({"clips": [{"prompt": "p", "caption": "c", "narration": "n"}]})

    (clip,) = script_of(reel, message="m")["clips"]

    assert (clip["caption"], clip["narration"]) == ("c", "n")


NO_LENGTH = json.dumps(SCRIPT | {"clips": [{"prompt": "p", "duration_s": 0}]})


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", "null", "{", "prose", json.dumps(SCRIPT | {"more": 1})),
        NO_LENGTH.replace(": 0}", ": Infinity}"),
        NO_LENGTH.replace(": 0}", ": 1e999}"),
        json.dumps(SCRIPT | {"title": "\ud800"}),
        pytest.param('{"a":' * 50_000, id="too deep"),
    ],
)
def test_text_that_is_no_script_is_refused_with_its_faults(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_script(text)

    assert caught.value.field_errors


@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        "  {}\n",
        "```json\n{}\n```",
        "Here it is:\n```\n{}\n```\nIs it what you want?",
        "<think>\nA {short} one.\n</think>\n\n{}",
        "{} I have chosen one {clip}.",
    ],
)
def test_a_script_is_read_in_a_code_block_after_a_thought_and_between_words(wrapped: str) -> None:
    assert read_script(wrapped.replace("{}", json.dumps(SCRIPT))).clips[0].prompt == "p"


def test_faults_are_listed_up_to_a_bound() -> None:
    faults = [FieldError("", "no"), *(FieldError(f"/clips/{number}", "no") for number in range(30))]

    lines = explain_faults(faults).splitlines()

    assert (lines[0], lines[-1], len(lines)) == ("the answer: no", "and 11 more", MAX_FAULTS + 1)


def test_a_talk_has_the_last_script_and_only_the_newest_earlier_wishes() -> None:
    request = StoryboardRequest(idea="x")
    limits = fit_request(request, CATALOG, default_model="animatic", max_reel_s=600)
    wishes = [f"wish {number:02}" for number in range(30)]

    chat = chat_about(request, limits, {}, wishes=wishes, answered=29, script=SCRIPT)

    assert [message["role"] for message in chat] == ["system", "user", "user", "assistant", "user"]
    assert ("wish 18" in chat[2]["content"], "wish 19" in chat[2]["content"]) == (False, True)
    assert chat[4]["content"].splitlines()[1:] == ["wish 29"]
