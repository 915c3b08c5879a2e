"""From pydantic's errors to pointers and words."""

from typing import Any

import pytest

from phoenix.api.faults import explain_validation, pointer_of


def error(kind: str, *loc: str | int, msg: str = "Input should be less than 5", **more: Any) -> dict[str, Any]:
    return {"type": kind, "loc": loc, "msg": msg, "input": "secret", **more}


@pytest.mark.parametrize(
    ("loc", "pointer"),
    [
        (("body", "clips", 0, "prompt"), "/clips/0/prompt"),
        (("body",), ""),
        (("query", "limit"), "/query/limit"),
        (("path", "index"), "/path/index"),
        (("body", "metadata", "a/b~c"), "/metadata/a~1b~0c"),
        (("body", "metadata", "key", "[key]"), "/metadata/key"),
    ],
)
def test_a_pointer_says_where_the_fault_is(loc: tuple[str | int, ...], pointer: str) -> None:
    assert pointer_of(loc) == pointer


def test_a_pointer_to_a_monstrous_key_is_cut_and_writable() -> None:
    pointer = pointer_of(("body", "metadata", "\ud800" + "k" * 100_000))

    assert len(pointer) < 300
    assert pointer.encode()


def test_every_fault_is_reported_once_and_the_first_leads_the_detail() -> None:
    twice = error("extra_forbidden", "body", "promt")

    explained = explain_validation([error("less_than", "body", "fps"), twice, twice], body={})

    assert [fault.pointer for fault in explained.faults] == ["/fps", "/promt"]
    assert explained.detail == "/fps: Input should be less than 5. (and 1 more)"


def test_the_input_is_never_repeated() -> None:
    explained = explain_validation([error("string_too_long", "body", "prompt")], body={})

    assert "secret" not in repr(explained)


def test_a_validators_own_words_stand_without_pydantics_prefix() -> None:
    found = [error("value_error", "body", "soundtrack", msg="Value error, give either artifact_id or url")]

    assert explain_validation(found, body={}).faults[0].detail == "Give either artifact_id or url."


def test_broken_json_is_told_with_its_position() -> None:
    broken = error("json_invalid", "body", 17, ctx={"error": "Expecting value"})

    explained = explain_validation([broken], body="")

    assert explained.is_malformed
    assert explained.detail == "The body is not JSON: Expecting value at character 17."


def test_a_body_that_fastapi_did_not_read_is_not_json() -> None:
    assert explain_validation([error("model_attributes_type", "body")], body=b"a=1").is_not_json
