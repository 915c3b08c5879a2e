"""Field errors made of pydantic's validation errors."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from phoenix.api.errors.validation import explain_validation, pointer_of
from phoenix.contract import SIZE_PATTERN


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

    assert [error.pointer for error in explained.field_errors] == ["/fps", "/promt"]
    assert explained.detail == "/fps: Input should be less than 5. (and 1 more)"


def test_the_input_is_never_repeated() -> None:
    explained = explain_validation([error("string_too_long", "body", "prompt")], body={})

    assert "secret" not in repr(explained)


def test_a_validators_own_words_stand_without_pydantics_prefix() -> None:
    found = [error("value_error", "body", "soundtrack", msg="Value error, give either artifact_id or url")]

    assert explain_validation(found, body={}).field_errors[0].detail == "Give either artifact_id or url."


def test_broken_json_is_reported_with_its_position() -> None:
    broken = error("json_invalid", "body", 17, ctx={"error": "Expecting value"})

    explained = explain_validation([broken], body="")

    assert explained.is_malformed
    assert explained.detail == "The body is not JSON: Expecting value at character 17."


def test_a_body_that_fastapi_did_not_read_is_not_json() -> None:
    assert explain_validation([error("model_attributes_type", "body")], body=b"a=1").is_not_json


class Sent(BaseModel):
    fps: int = 1
    share: float = 1
    is_kept: bool = True
    since: datetime | None = None
    size: str = Field(default="1x1", pattern=SIZE_PATTERN)
    clips: list[str] = Field(default=["x"], min_length=1)


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"fps": "many"}, "This must be a whole number."),
        ({"fps": 1.5}, "This must be a whole number."),
        ({"share": "half"}, "This must be a number."),
        ({"is_kept": "perhaps"}, "This must be true or false."),
        ({"since": "yesterday"}, "This must be a time, such as 2026-01-31T18:00:00Z."),
        ({"size": "big"}, "This must be a width and a height in pixels, such as 1280x720."),
        ({"clips": []}, "Give at least 1."),
    ],
)
def test_a_wrong_value_is_reported_in_words_about_the_request(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Sent.model_validate(sent)

    assert explain_validation(refused.value.errors(), body=sent).field_errors[0].detail == detail
