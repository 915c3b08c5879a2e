"""Speaks a text with a resolved voice. Which engine it takes is decided in `voices`."""

from pathlib import Path

from phoenix.contract import ResolvedVoice, SpokenWord
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import TtsSettings
from phoenix.speech.local import speak_locally
from phoenix.speech.service import speak_by_service


async def speak(text: str, voice: ResolvedVoice, output: Path, settings: TtsSettings) -> list[SpokenWord]:
    """Writes the speech to `output`. Returns the times of its words in seconds; empty where the engine has none.

    Raises `TaskFailed`, which is retriable if the engine may answer later.
    """
    if voice.engine in ("piper", "espeak"):
        return await speak_locally(text, voice, output, settings)
    if voice.engine == "openai" and settings.base_url is not None:
        await speak_by_service(text, voice, output, settings)
        return []
    detail = f"this worker has no {voice.engine} engine for speech: see PHOENIX_TTS__ENGINE"
    raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.NARRATION, retriable=True)
