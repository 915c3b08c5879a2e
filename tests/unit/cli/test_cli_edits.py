"""The options of `phoenix edit` as the changes of the API: numbers of the original become indices in turn."""

from collections.abc import Sequence
from typing import Any

import pytest
import typer

from builders import make_reel
from phoenix.catalog.catalog import load_catalog
from phoenix.cli.inputs.edits import list_changes
from phoenix.contract import EditRequest
from phoenix.jobs.submission.edits import edit_reel


def changes_of(**options: Any) -> list[dict[str, Any]]:
    none: dict[str, Sequence[Any] | None] = dict.fromkeys(("reroll", "take", "replace", "insert", "remove", "move"))
    return list_changes(**{**none, **options})


def clips_after(**options: Any) -> str:
    """The prompts that are left of the clips a, b, c, d."""
    request = EditRequest.model_validate({"clips": changes_of(**options)})
    edited = edit_reel(make_reel(*"abcd"), request, load_catalog(), draw_seed=lambda: 1)
    return "".join(clip.prompt for clip in edited.request.clips)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"replace": ["2:x"], "reroll": [1]}, "axcd"),
        ({"remove": [1, 3]}, "bd"),
        ({"remove": [3, 3]}, "abd"),
        ({"insert": ["1:x", "5:y"]}, "xabcdy"),
        ({"insert": ["2:x", "2:y"]}, "axybcd"),
        ({"insert": ["2:x"], "remove": [2]}, "axcd"),
        ({"remove": [1], "replace": ["4:x"]}, "bcx"),
        ({"move": ["4:1", "1:2"]}, "adbc"),
    ],
)
def test_clips_are_named_by_their_numbers_in_the_original(options: dict[str, Any], left: str) -> None:
    assert clips_after(**options) == left


def test_takes_are_counted_from_one_like_clips() -> None:
    assert changes_of(take=["2:3"]) == [{"op": "take", "index": 1, "take": 2}]


@pytest.mark.parametrize(
    "options",
    [
        {"reroll": [0]},
        {"replace": ["x"]},
        {"replace": ["2:"]},
        {"insert": ["0:x"]},
        {"move": ["3"]},
        {"move": ["a:1"]},
        {"take": ["1:0"]},
    ],
)
def test_a_text_of_another_form_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter):
        changes_of(**options)
