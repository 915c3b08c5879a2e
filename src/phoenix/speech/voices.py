"""Decides what speaks a narration, from the settings and from what is installed here."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from phoenix.contract import ResolvedVoice
from phoenix.errors import FieldError
from phoenix.settings import TtsSettings

SpeechEngine = Literal["openai", "piper", "espeak"]

NO_ENGINE = (
    "this server has no voice: its operator sets PHOENIX_TTS__BASE_URL to a speech service, or PHOENIX_TTS__VOICES_DIR "
    "to voices of Piper, or installs eSpeak NG"
)
_DEFAULT_ESPEAK_VOICE = "en"
_MOST_NAMED = 10


def find_engine(settings: TtsSettings) -> SpeechEngine | None:
    """The engine that speaks; None if there is none, or if the operator has switched speech off."""
    if settings.engine == "off":
        return None
    if settings.engine != "auto":
        return settings.engine
    if settings.base_url is not None:
        return "openai"
    if settings.voices_dir is not None:
        return "piper"
    return "espeak" if is_espeak_here() else None


def is_espeak_here() -> bool:
    """Whether eSpeak NG is installed: from PyPI with its library, or by the system."""
    return find_spec("espeakng_loader") is not None or shutil.which("espeak-ng") is not None


def resolve_voice(wanted: str | None, settings: TtsSettings) -> ResolvedVoice | FieldError:
    """The voice that a reel asks for, or the default one; or the reason why the reel gets no voice."""
    engine = find_engine(settings)
    name = wanted or settings.voice
    if engine is None:
        return FieldError("/voice", NO_ENGINE)
    if engine == "piper":
        return _resolve_file(name, settings.voices_dir)
    if engine == "espeak":
        return ResolvedVoice(engine=engine, name=name or _DEFAULT_ESPEAK_VOICE)
    if settings.base_url is None:
        return FieldError("/voice", NO_ENGINE)
    if name is None:
        return FieldError("/voice", "give a voice: this server has no default one (PHOENIX_TTS__VOICE)")
    return ResolvedVoice(engine=engine, model=settings.model, name=name)


def _resolve_file(name: str | None, folder: Path | None) -> ResolvedVoice | FieldError:
    """A voice of Piper, whose files another machine may have."""
    if folder is None:
        return FieldError("/voice", NO_ENGINE)
    names = list_voices(folder)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        return FieldError("/voice", f"give a voice: {_enumerate(names)}" if names else NO_ENGINE)
    if folder.is_dir() and name not in names:
        return FieldError("/voice", f"there is no voice {name!r} here; choose one of: {_enumerate(names)}")
    return ResolvedVoice(engine="piper", name=name)


def list_voices(folder: Path) -> list[str]:
    """Names of the voices of Piper in a folder."""
    return sorted(path.name.removesuffix(".onnx") for path in folder.glob("*.onnx"))


def _enumerate(names: list[str]) -> str:
    more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
