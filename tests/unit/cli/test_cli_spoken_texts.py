"""Captions and narration on the command line: each text goes to the clip of its number."""

from typing import Any

import pytest
import typer

from phoenix.cli.inputs.spoken_texts import with_moved_lips, with_texts


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


def test_lips_are_moved_in_the_clip_of_the_number_with_the_box_if_it_is_given():
    body = with_moved_lips(a_body(), ["1", "2:220,80,200,240"])

    box = {"x": 220, "y": 80, "width": 200, "height": 240}
    assert [clip["lip_sync"] for clip in body["clips"]] == [True, {"box": box}]


@pytest.mark.parametrize(
    ("given", "message"),
    [("one", "the number of a clip"), ("1:1,2,3", "1:220,80,200,240"), ("3", "there is no clip 3: the reel has 2")],
)
def test_lips_without_their_clip_are_refused(given: str, message: str):
    with pytest.raises(typer.BadParameter, match=message):
        with_moved_lips(a_body(), [given])
