"""Captions and narration on the command line: each text goes to the clip of its number."""

from typing import Any

import pytest
import typer

from phoenix.cli.inputs.spoken_texts import with_texts


def a_body() -> dict[str, Any]:
    return {"clips": [{"prompt": "a"}, {"prompt": "b"}]}


def test_each_text_goes_to_the_clip_of_its_number():
    body = with_texts(a_body(), caption=["2:At 5:30, by the sea"], narration=None)

    assert body["clips"] == [{"prompt": "a"}, {"prompt": "b", "caption": "At 5:30, by the sea"}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Hello", "the number of a clip and a text"),
        ("3:Hello", "there is no clip 3: the reel has 2"),
        ("0:Hello", "the first clip is 1"),
        ("1:", "text"),
    ],
)
def test_a_text_without_its_clip_is_refused(given: str, message: str):
    with pytest.raises(typer.BadParameter, match=message):
        with_texts(a_body(), narration=[given])
