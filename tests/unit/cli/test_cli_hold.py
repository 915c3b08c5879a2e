"""The value of `--hold`, as the fields of the body."""

from typing import Any

import pytest

from phoenix.cli.options import hold_of
from phoenix.contract import ReelRequest


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (None, {}),
        ("draft", {"hold": "draft", "draft": None}),
        ("draft:veo-3.1", {"hold": "draft", "draft": {"model": "veo-3.1"}}),
        ("draft@draft", {"hold": "draft", "draft": {"quality": "draft"}}),
        ("draft:animatic@high", {"hold": "draft", "draft": {"model": "animatic", "quality": "high"}}),
    ],
)
def test_a_hold_names_the_model_and_the_tier_of_its_draft(text: str | None, body: dict[str, Any]) -> None:
    assert hold_of(text) == body
    given = {name: value for name, value in body.items() if value is not None}
    ReelRequest.model_validate({"clips": [{"prompt": "a"}], **given})


def test_another_word_is_left_to_the_check_of_the_request() -> None:
    assert hold_of("final") == {"hold": "final", "draft": None}
