"""The mouth that is drawn: it opens with the energy of the sound, widens with vowels, and covers nothing else."""

from itertools import pairwise

import numpy as np
import pytest

from fixtures.tiny_lips import syllables
from phoenix.lipsync.drawn_mouth import DrawnMouth, MouthShape, SpeechShapes, draw_mouth
from phoenix.lipsync.faces import FaceBox, FixedFace
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Pixels, Speech, SyncCounts

SKIN = (214, 170, 146)
BOX = FaceBox(40, 20, 120, 150)


class Watching:
    def __init__(self) -> None:
        self.counts: list[SyncCounts] = []

    def on_frames(self, counts: SyncCounts) -> None:
        self.counts.append(counts)


def face() -> Pixels:
    picture = np.full((200, 200, 3), (30, 90, 160), np.uint8)
    picture[BOX.rows, BOX.columns] = SKIN
    return picture


def dark_rows(frame: Pixels) -> int:
    """How many rows of the inside of the mouth are seen in the middle of the face."""
    column = frame[BOX.rows, BOX.left + BOX.width // 2].astype(int)
    return int((column.sum(axis=1) < 150).sum())


def dark_columns(frame: Pixels) -> int:
    row = BOX.top + round(0.72 * BOX.height)
    return int((frame[row, BOX.columns].astype(int).sum(axis=1) < 150).sum())


def test_frames_from_the_middle_have_the_mouths_of_the_whole() -> None:
    frames, speech, engine = [face()] * 25, syllables(1), DrawnMouth(FixedFace(BOX))
    whole = list(engine.sync(frames, 25, speech, Watching()))
    np.testing.assert_array_equal(list(engine.sync(frames[10:], 25, speech, Watching(), first=10)), whole[10:])


def test_a_mouth_opens_with_the_energy_of_the_sound() -> None:
    speech, fps, count = syllables(4), 25, 100
    frames = list(DrawnMouth(FixedFace(BOX)).sync([face()] * count, fps, speech, Watching()))
    energy = [np.sqrt(np.mean(speech.part(i / fps, (i + 1) / fps) ** 2)) for i in range(count)]
    assert np.corrcoef(energy, [dark_rows(frame) for frame in frames])[0, 1] > 0.97


def test_an_opener_mouth_shows_more_of_its_inside() -> None:
    shown = [dark_rows(draw_mouth(face(), BOX, MouthShape(openness, 0.5))) for openness in (0, 0.25, 0.5, 0.75, 1)]
    assert shown[0] == 0
    assert all(before < after for before, after in pairwise(shown))


def test_a_spread_vowel_is_wider_than_a_rounded_one() -> None:
    fps = 25
    rounded, spread = (SpeechShapes(syllables(1, tone_hz=tone_hz), fps).at(4) for tone_hz in (350, 2200))
    assert rounded.width == 0
    assert spread.width == 1
    widths = [dark_columns(draw_mouth(face(), BOX, MouthShape(1, width))) for width in (0.0, 1.0)]
    assert widths[0] < widths[1]


def test_the_mouth_is_closed_in_silence_and_after_the_end() -> None:
    shapes = SpeechShapes(Speech(np.zeros(SPEECH_RATE_HZ, np.float32)), 25)
    assert shapes.at(3).openness == 0
    assert SpeechShapes(syllables(1), 25).at(400).openness == 0


def test_a_quiet_hiss_does_not_open_the_mouth() -> None:
    hiss = Speech(np.random.default_rng(1).normal(0, 0.0005, SPEECH_RATE_HZ).astype(np.float32))
    assert SpeechShapes(hiss, 25).at(5).openness < 0.1


def test_nothing_outside_the_face_changes_and_the_frame_stays_as_it_was() -> None:
    before = face()
    drawn = draw_mouth(before, BOX, MouthShape(1, 1))
    np.testing.assert_array_equal(before, face())
    drawn[BOX.rows, BOX.columns] = before[BOX.rows, BOX.columns]
    np.testing.assert_array_equal(drawn, before)


def test_as_many_frames_come_out_as_go_in_and_faceless_ones_are_counted() -> None:
    watching = Watching()
    outside = DrawnMouth(FixedFace(FaceBox(400, 400, 50, 50)))
    frames = [face()] * 7
    assert list(outside.sync(frames, 25, syllables(1), watching)) == frames
    assert watching.counts[-1] == SyncCounts(7, without_face=7)


@pytest.mark.parametrize("box", [FaceBox(0, 0, 2, 2), FaceBox(3, 5, 4, 9), FaceBox(0, 0, 200, 200)])
def test_a_mouth_is_drawn_on_a_face_of_any_size(box: FaceBox) -> None:
    assert draw_mouth(face(), box, MouthShape(0.7, 0.3)).shape == (200, 200, 3)
