"""The scene and the text for a prompt."""

import pytest

from phoenix.engine.backends.animatic.lettering import NO_FONT, clean_text, wrap_text
from phoenix.engine.backends.animatic.scene import Ground, Hour, Weather, read_scene


@pytest.mark.parametrize(
    ("prompt", "hour", "ground", "weather"),
    [
        ("Neon city street at night, rain", Hour.NIGHT, Ground.CITY, Weather.RAIN),
        ("a harbour at dawn", Hour.DAWN, Ground.SEA, None),
        ("a fox in a snowy FOREST at sunset", Hour.DUSK, None, Weather.SNOW),
    ],
)
def test_words_decide_the_scene(prompt, hour, ground, weather):
    scene = read_scene(prompt, 0)
    assert scene.hour is hour
    assert ground is None or scene.ground is ground
    assert weather is None or scene.weather is weather


def test_the_seed_decides_what_the_prompt_does_not():
    scenes = {(scene.hour, scene.ground) for scene in (read_scene("something", seed) for seed in range(40))}
    assert len(scenes) > 8


def test_text_is_one_line_of_letters_that_can_be_shown():
    assert clean_text(" a\n\tb\x00\u200bc\ud800 ") == "a bc"


def test_text_that_is_too_long_to_read_is_cut():
    assert clean_text("word " * 800).endswith("…")
    assert len(clean_text("word " * 800)) <= 600


def fit(text: str, *, width_px: int = 200, height_px: int = 60):
    return wrap_text(text, width_px=width_px, height_px=height_px, largest_px=24, smallest_px=8)


def test_lines_are_no_wider_than_the_box():
    fitted = fit("a rather long sentence about a fox that runs through the snow at dawn")
    assert len(fitted.lines) > 1
    assert all(fitted.font.getlength(line) <= 200 for line in fitted.lines)


def test_a_word_wider_than_the_box_is_broken():
    fitted = fit("https://" + "x" * 60)
    assert all(fitted.font.getlength(line) <= 200 for line in fitted.lines)
    assert "".join(fitted.lines) == "https://" + "x" * 60


def test_short_words_are_written_large_and_long_ones_small():
    assert fit("fox").font.size == 24
    assert fit("fox " * 60).font.size < 12


def test_more_lines_than_fit_end_in_an_ellipsis():
    fitted = fit("fox " * 200)
    assert len(fitted.lines) * fitted.line_height_px <= 60
    assert fitted.lines[-1].endswith("…")


def test_a_prompt_whose_letters_no_font_has_gets_a_notice():
    assert " ".join(fit("\U000f0000\U000f0001", height_px=200).lines) == NO_FONT
    assert fit("a \U000f0000\U000f0001 b").lines == ("a … b",)
