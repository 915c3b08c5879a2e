"""The engines of speech that run as processes of their own: what they write, and that they end with the call."""

import asyncio
import wave
from pathlib import Path

import pytest

from phoenix.contract import ResolvedVoice
from phoenix.errors import FailureCode, TaskFailed
from phoenix.settings import TtsSettings
from phoenix.speech.speaking import speak

ESPEAK = ResolvedVoice(engine="espeak", name="en-us")
PIPER = ResolvedVoice(engine="piper", name="nobody")


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that were started for a file in this folder."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_text()
        except OSError:
            continue
        found += [command] if str(folder) in command else []
    return found


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_espeak_writes_a_sound_as_long_as_its_words(tmp_path: Path) -> None:
    words = await speak("A red fox. Café!", ESPEAK, tmp_path / "a.wav", TtsSettings())

    with wave.open(str(tmp_path / "a.wav")) as sound:
        length_s = sound.getnframes() / sound.getframerate()
    assert [word.text for word in words] == ["A", "red", "fox.", "Café!"]
    assert words[-1].end_s == pytest.approx(length_s, abs=0.01)


async def test_the_text_of_a_client_is_no_part_of_a_command(tmp_path: Path) -> None:
    text = "--help $(touch pwned) \"quoted\" 'text' <speak>\n"

    assert await speak(text, ESPEAK, tmp_path / "a.wav", TtsSettings())
    assert files_in(tmp_path) == ["a.json", "a.wav"]


async def test_a_speech_that_takes_too_long_ends_with_its_process(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="PHOENIX_TTS__TIMEOUT_S") as failed:
        await speak("hello", ESPEAK, tmp_path / "a.wav", TtsSettings(timeout_s=0.001))

    assert (failed.value.code, failed.value.retriable) == (FailureCode.ENGINE_FAILED, True)
    assert processes_of(tmp_path) == []


async def test_a_speech_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    speaking = asyncio.create_task(speak("hello " * 300, ESPEAK, tmp_path / "a.wav", TtsSettings()))
    async with asyncio.timeout(100):
        while not processes_of(tmp_path):  # noqa: ASYNC110 - nothing else says that the process has begun
            await asyncio.sleep(0.001)
    speaking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await speaking
    assert processes_of(tmp_path) == []


async def test_a_missing_piper_or_a_missing_voice_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="this worker has no") as failed:
        await speak("hello", PIPER, tmp_path / "a.wav", TtsSettings(voices_dir=tmp_path))

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, False)


async def test_a_worker_that_has_another_engine_says_so(tmp_path: Path) -> None:
    voice = ResolvedVoice(engine="openai", model="tts", name="alloy")
    with pytest.raises(TaskFailed, match="this worker has no openai engine") as failed:
        await speak("hello", voice, tmp_path / "a.wav", TtsSettings(engine="espeak"))

    assert failed.value.retriable is True


async def test_a_service_that_is_not_there_may_be_there_later(tmp_path: Path) -> None:
    voice = ResolvedVoice(engine="openai", model="tts", name="alloy")
    with pytest.raises(TaskFailed, match="gave no answer: ConnectError") as failed:
        await speak("hello", voice, tmp_path / "a.wav", TtsSettings.model_validate({"base_url": "http://127.0.0.1:9"}))

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, True)
