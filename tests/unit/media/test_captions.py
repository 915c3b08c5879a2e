"""Captions: which text is shown when, where its lines break, and that no text of a client is obeyed in a file."""

import pysubs2
import pytest

from fixtures.workplace import a_reel
from phoenix.contract import ResolvedExtension, ResolvedReel, SpokenWord, Transition
from phoenix.media.captions.cues import Cue, frames_to_hold, plan_cues, spread_words, times_of_clips
from phoenix.media.captions.font import find_unknown_letters, measure_at, name_letter
from phoenix.media.captions.layout import TextBox, clean_caption, lay_out, track_box, wrap_lines
from phoenix.media.captions.subtitle_files import write_ass, write_srt, write_vtt

FADE = Transition(kind="crossfade", duration_s=0.25)
NARROW = TextBox(len, 10, 2)


def captioned(*captions: str, transition: Transition | None = None, frames: int = 16) -> ResolvedReel:
    """A clip of a second for each caption."""
    reel = a_reel(clips=len(captions), frames=frames, transition=transition or Transition())
    clips = [clip.model_copy(update={"caption": text}) for clip, text in zip(reel.clips, captions, strict=True)]
    return reel.model_copy(update={"clips": clips})


def word(text: str, start_s: float, end_s: float) -> SpokenWord:
    return SpokenWord(text=text, start_s=start_s, end_s=end_s)


def test_a_caption_is_shown_with_its_clip():
    cues = plan_cues(captioned("one", "", "three"), {})

    assert cues == [Cue(0, 1, "one"), Cue(2, 3, "three")]


def test_a_crossfade_belongs_half_to_each_caption():
    cues = plan_cues(captioned("one", "two", transition=FADE), {})

    assert cues == [Cue(0, 0.875, "one"), Cue(0.875, 1.75, "two")]


def test_a_clip_that_is_extended_moves_the_captions():
    extends = ResolvedExtension(job_id="job", clip_index=0, artifact_id="art", duration_s=2)
    reel = captioned("one").model_copy(update={"extends": extends})

    assert plan_cues(reel, {}) == [Cue(2, 3, "one")]


def test_a_narration_may_last_until_the_next_clip_begins():
    first, last = times_of_clips(captioned("", "", transition=FADE))

    assert (first.available_s, last.begins_s, last.available_s) == (0.75, 0.75, 1)


def test_spoken_words_are_shown_in_groups_at_their_times():
    reel = captioned("", "", frames=160)
    words = [word("The", 0.5, 0.7), word("harbour", 0.7, 1.2), word("sleeps.", 1.2, 1.8), word("Boats", 3, 3.4)]

    cues = plan_cues(reel, {1: words})

    assert [cue.text for cue in cues] == ["The harbour sleeps.", "Boats"]
    assert [(cue.start_s, cue.end_s) for cue in cues] == [
        (10.5, pytest.approx(12.2)),
        (13, pytest.approx(13.8)),
    ]


def test_a_caption_wins_over_the_spoken_words():
    assert plan_cues(captioned("mine"), {0: [word("theirs", 0, 1)]}) == [Cue(0, 1, "mine")]


def test_no_cue_outlasts_the_next_one():
    cues = plan_cues(captioned("", "two", transition=FADE), {0: [word("late", 0.6, 0.74)]})

    assert cues == [Cue(0.6, 0.875, "late"), Cue(0.875, 1.75, "two")]


def test_words_without_times_share_the_speech_by_their_lengths():
    spread = spread_words("a longer word", 7)

    assert [(each.text, each.start_s, each.end_s) for each in spread] == [
        ("a", 0, 1),
        ("longer", 1, 4.5),
        ("word", 4.5, 7),
    ]


def test_lines_break_between_words():
    assert wrap_lines("one two three four", NARROW) == ["one two", "three four"]


def test_a_word_that_is_wider_than_the_box_is_broken():
    assert wrap_lines("abcdefghijklmno", NARROW) == ["abcdefghij", "klmno"]


def test_a_letter_stays_with_its_accent():
    assert wrap_lines("abcdefghie\u0301x", NARROW) == ["abcdefghie\u0301", "x"]


def test_a_long_text_is_shown_in_parts_that_share_its_time():
    cues = lay_out([Cue(0, 4, "aaaaaaaa bbbbbbbb cccccccc dddddddd")], NARROW)

    assert cues == [Cue(0, 2, "aaaaaaaa\nbbbbbbbb"), Cue(2, 4, "cccccccc\ndddddddd")]


def test_lines_of_the_client_are_kept_and_empty_ones_dropped():
    assert clean_caption("one\r\n\r\n  two\tthree \x07\n") == "one\ntwo three"


def test_a_tall_picture_has_shorter_lines():
    assert (track_box(640, 480).width, track_box(480, 640).width) == (42, 28)


@pytest.mark.parametrize("text", ["Ärger, œuvre, ĳs", "Καλημέρα", "Доброе утро", "שלום", "€ → ♥ — “”"])
def test_the_font_has_these_letters(text: str):
    assert find_unknown_letters(text) == []


def test_letters_that_the_font_lacks_are_named():
    unknown = find_unknown_letters("a 猫 and a 猫 and ไ\u200d\n")

    assert [name_letter(letter) for letter in unknown] == [
        "猫 (U+732B CJK UNIFIED IDEOGRAPH-732B)",
        "ไ (U+0E44 THAI CHARACTER SARA AI MAIMALAI)",
    ]


def test_a_larger_text_is_wider():
    assert 1.8 < measure_at(60)("harbour") / measure_at(30)("harbour") < 2.2


@pytest.mark.parametrize("text", [r"{\an8}top", "<b>bold</b>", r"C:\new\Name \h", "a & b", "{hello}"])
def test_no_text_is_obeyed_in_srt(text: str):
    (event,) = pysubs2.SSAFile.from_string(write_srt([Cue(0, 1, text)]), format_="srt", keep_html_tags=True)

    assert (event.start, event.end) == (0, 1000)
    assert event.text.replace("\u2060", "") == text
    assert pysubs2.SSAEvent(text=event.text).plaintext.count("\n") == 0


def test_webvtt_escapes_what_it_reserves():
    written = write_vtt([Cue(0.5, 1.25, "<i>a</i> & b --> c")])

    assert written.startswith("WEBVTT\n")
    assert "00:00:00.500 --> 00:00:01.250" in written
    assert "&lt;i&gt;a&lt;/i&gt; &amp; b" in written


def test_an_arrow_cannot_end_a_cue():
    assert clean_caption("a --> b") == "a → b"


def test_lines_stay_lines_in_every_file():
    cue = [Cue(0, 1, "one\ntwo")]

    assert "one\ntwo" in write_srt(cue)
    assert "one\ntwo" in write_vtt(cue)
    assert r"one\Ntwo" in write_ass(cue, width_px=64, height_px=48, size_px=8)


def test_braces_and_backslashes_are_text_in_ass():
    written = write_ass([Cue(0, 1, r"{\b1}x\N")], width_px=64, height_px=48, size_px=8)

    assert "\\{\\\u2060b1\\}x\\\u2060N" in written
    assert "DejaVu Sans" in written


def test_a_held_clip_moves_what_comes_after_it():
    reel = captioned("one", "two", transition=FADE)
    held = frames_to_hold(reel, {0: 1.25, 1: 0.5})

    assert held == {0: 8}
    assert plan_cues(reel, {}, held) == [Cue(0, 1.375, "one"), Cue(1.375, 2.25, "two")]


def test_a_reel_without_texts_has_no_cues():
    assert plan_cues(captioned("", ""), {}) == []
