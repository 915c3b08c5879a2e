"""Speech by a program of this machine, in a process of its own.

Both engines are under the GPL, and eSpeak NG has one state per process.
"""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from phoenix.child_processes import ResourceLimits, stop_process, tied
from phoenix.contract import ResolvedVoice, SpokenWord
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import TtsSettings

_CHILD = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
    "from phoenix.speech.children.{engine} import main; main()"
)
_PASSED_ENVIRONMENT = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "PATH")
_CHECK_TIMEOUT_S = 30
_MEMORY_BYTES = 4 * 1024**3
_OPEN_FILES = 256


async def speak_locally(text: str, voice: ResolvedVoice, output: Path, settings: TtsSettings) -> list[SpokenWord]:
    """Writes the speech to `output` as a WAV, and returns its words with their times. Raises `TaskFailed`.

    The process ends with the call, also if the call is cancelled.
    """
    asked = _write_request(text, voice, output, settings)
    process = await asyncio.create_subprocess_exec(
        *_command(voice.engine, asked),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    limits = ResourceLimits(_MEMORY_BYTES, settings.max_speech_bytes, settings.timeout_s * 8, _OPEN_FILES)
    limits.apply_to(process.pid)
    try:
        async with asyncio.timeout(settings.timeout_s):
            printed, _ = await process.communicate()
    except TimeoutError as error:
        detail = f"{voice.engine} spoke for longer than {settings.timeout_s:.0f} s (PHOENIX_TTS__TIMEOUT_S)"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.NARRATION, retriable=True) from error
    finally:
        await stop_process(process, grace_s=0)
    return _read_answer(printed, voice)


@lru_cache(maxsize=256)
def find_espeak_fault(voice: str) -> str | None:
    """The reason why the eSpeak NG of this machine cannot speak as `voice`; None if it can, and if it does not say.

    Starts a process for each new name; blocks.
    """
    with TemporaryDirectory(prefix="phoenix-voice-") as folder:
        asked = Path(folder) / "voice.json"
        asked.write_text(json.dumps({"voice": voice}), encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - an argument list, no shell
                _command("espeak", asked),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_CHECK_TIMEOUT_S,
                check=False,
                env=_environment(),
            )
            answer: Any = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
    return answer.get("fault")


def _command(engine: str, asked: Path) -> list[str]:
    return tied([sys.executable, "-I", "-c", _CHILD.replace("{engine}", engine), str(asked)])


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ENVIRONMENT if name in os.environ}


def _write_request(text: str, voice: ResolvedVoice, output: Path, settings: TtsSettings) -> Path:
    """Writes what the process is asked for. Every user of the machine could read the argument of a command."""
    request = {"text": text, "voice": _locate(voice, settings), "output": str(output.absolute())}
    asked = output.with_suffix(".json").absolute()
    asked.write_text(json.dumps(request), encoding="utf-8")
    return asked


def _locate(voice: ResolvedVoice, settings: TtsSettings) -> str:
    if voice.engine != "piper" or settings.voices_dir is None:
        return voice.name
    return str((settings.voices_dir / f"{voice.name}.onnx").absolute())


def _read_answer(printed: bytes, voice: ResolvedVoice) -> list[SpokenWord]:
    answer: Any = {}
    with suppress(ValueError):
        answer = json.loads(printed)
    if "words" in answer:
        return [SpokenWord.model_validate(word) for word in answer["words"]]
    if fault := answer.get("fault"):
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, str(fault), stage=Stage.NARRATION)
    detail = f"{voice.engine} ended without speech"
    raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.NARRATION, retriable=True)
