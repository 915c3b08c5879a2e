"""Speech by the real Piper with voices that are made here: rate, length, times of words, and voices that are broken."""

import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from fixtures.piper_voice import RATE_HZ, SOUND, TONE_HZ, install_piper, write_voice
from fixtures.speech import loudness_of, narrated_reel
from fixtures.workplace import OpenHarness
from phoenix.contract import JobState, ResolvedVoice, SpokenWord
from phoenix.errors import FailureCode, TaskFailed
from phoenix.settings import TtsSettings
from phoenix.speech.speaking import speak
from phoenix.speech.voices import resolve_voice

PAUSE_S = 0.2


@pytest.fixture(autouse=True)
def with_piper(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Phoenix were installed in the environment of Piper: processes are started there."""
    monkeypatch.setattr(sys, "executable", str(install_piper()))


async def say(text: str, folder: Path) -> tuple[list[SpokenWord], np.ndarray]:
    """The words of a text, and its samples, spoken by the only voice of the folder."""
    settings = TtsSettings(voices_dir=folder)
    voice = resolve_voice(None, settings)
    assert isinstance(voice, ResolvedVoice)
    words = await speak(text, voice, folder / "speech.wav", settings)
    with wave.open(str(folder / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        return words, np.frombuffer(file.readframes(file.getnframes()), np.int16)


async def test_the_sound_is_as_long_as_its_sounds_and_each_word_is_where_its_sounds_are(tmp_path: Path) -> None:
    write_voice(tmp_path)

    words, samples = await say("ab c. de.", tmp_path)

    # A sentence has a mark at its begin and one at its end, and a gap after each mark and letter but the last.
    first, second = (2 + 2 * 5 + 1) * SOUND, (2 + 2 * 3 + 1) * SOUND
    pause = round(PAUSE_S * RATE_HZ)
    assert len(samples) == first + pause + second
    assert not samples[first : first + pause].any()
    then = first + pause
    expected = [
        ("ab", 2 * SOUND, 6 * SOUND),
        ("c.", 8 * SOUND, 10 * SOUND),
        ("de.", then + 2 * SOUND, then + 6 * SOUND),
    ]
    assert [(word.text, round(word.start_s * RATE_HZ), round(word.end_s * RATE_HZ)) for word in words] == [
        (text, pytest.approx(start, abs=RATE_HZ / 1000), pytest.approx(end, abs=RATE_HZ / 1000))
        for text, start, end in expected
    ]


async def test_a_voice_with_several_speakers_speaks_english_as_its_first_one(tmp_path: Path) -> None:
    write_voice(tmp_path, sounds="espeak", speakers=2)

    words, samples = await say("A red fox [[runs]].", tmp_path)

    assert [word.text for word in words] == ["A", "red", "fox", "[[runs]]."]
    starts = [word.start_s for word in words]
    assert starts == sorted(starts)
    strongest = np.abs(np.fft.rfft(samples)).argmax() * RATE_HZ / len(samples)
    assert strongest == pytest.approx(TONE_HZ, abs=5)


@pytest.mark.parametrize("broken", ["tiny.onnx", "tiny.onnx.json"])
async def test_a_voice_with_a_broken_file_is_named_and_not_tried_again(tmp_path: Path, broken: str) -> None:
    write_voice(tmp_path)
    (tmp_path / broken).write_text("{}")

    with pytest.raises(TaskFailed, match=r"Piper cannot load tiny\.onnx with tiny\.onnx\.json") as failed:
        await say("ab", tmp_path)

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, False)


async def test_a_reel_is_narrated_also_where_there_is_nothing_to_say(open_harness: OpenHarness, tmp_path: Path) -> None:
    write_voice(tmp_path, sounds="espeak")
    harness = await open_harness(tts=TtsSettings(voices_dir=tmp_path))
    voice = ResolvedVoice(engine="piper", name="tiny")
    reel = narrated_reel({0: "A red fox.", 1: "..."}, voice=voice, fit_narration=True)

    async with harness.worker():
        job = await harness.until_ended(await harness.submit(reel))

    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    heard = loudness_of(await harness.download(job.output, tmp_path), TONE_HZ)
    assert heard[0] > 0.01
