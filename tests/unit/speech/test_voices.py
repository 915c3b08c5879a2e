"""Which engine speaks, with which voice, and what a client is told where there is none."""

from pathlib import Path
from typing import Any

import pytest

from phoenix.contract import ResolvedVoice
from phoenix.errors import FieldError
from phoenix.settings import TtsSettings
from phoenix.speech.voices import NO_ENGINE, find_engine, resolve_voice

SERVICE = {"base_url": "http://127.0.0.1:9/v1", "model": "tts"}


def settings(**changes: Any) -> TtsSettings:
    return TtsSettings.model_validate(changes)


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / f"{name}.onnx").touch()
    return tmp_path


def test_a_service_comes_before_the_engines_of_this_machine(tmp_path: Path):
    assert find_engine(settings(**SERVICE, voices_dir=tmp_path)) == "openai"
    assert find_engine(settings(voices_dir=tmp_path)) == "piper"
    assert find_engine(settings()) == "espeak"


def test_the_operator_chooses_the_engine():
    assert find_engine(settings(**SERVICE, engine="espeak")) == "espeak"
    assert find_engine(settings(**SERVICE, engine="off")) is None


def test_the_voice_of_the_reel_wins_over_that_of_the_server():
    assert resolve_voice("nova", settings(**SERVICE, voice="alloy")) == ResolvedVoice(
        engine="openai", model="tts", name="nova"
    )
    assert resolve_voice(None, settings(**SERVICE, voice="alloy")) == ResolvedVoice(
        engine="openai", model="tts", name="alloy"
    )


def test_a_service_needs_a_voice():
    found = resolve_voice(None, settings(**SERVICE))

    assert isinstance(found, FieldError)
    assert (found.pointer, "PHOENIX_TTS__VOICE" in found.detail) == ("/voice", True)


@pytest.mark.parametrize("changes", [{"engine": "off"}, {"engine": "openai"}, {"engine": "piper"}])
def test_without_an_engine_the_operator_is_told_what_to_set(changes: dict[str, Any]):
    assert resolve_voice("alloy", settings(**changes)) == FieldError("/voice", NO_ENGINE)


def test_the_only_voice_of_piper_is_its_default(tmp_path: Path):
    assert resolve_voice(None, settings(voices_dir=folder_of(tmp_path, "joe"))) == ResolvedVoice(
        engine="piper", name="joe"
    )


def test_unknown_voices_of_piper_are_refused_with_the_known_ones(tmp_path: Path):
    folder = folder_of(tmp_path, "joe", "ann")

    assert resolve_voice("bob", settings(voices_dir=folder)) == FieldError(
        "/voice", "there is no voice 'bob' here; choose one of: ann, joe"
    )
    assert resolve_voice(None, settings(voices_dir=folder)) == FieldError("/voice", "give a voice: ann, joe")


def test_a_folder_that_only_a_worker_has_is_trusted(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"

    assert resolve_voice("joe", settings(voices_dir=elsewhere)) == ResolvedVoice(engine="piper", name="joe")
