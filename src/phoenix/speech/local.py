"""Speech by a program of this machine, in a process of its own.

Both engines are under the GPL, and eSpeak NG has one state per process.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
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
_MEMORY_BYTES = 4 * 1024**3
_OPEN_FILES = 256


async def speak_locally(text: str, voice: ResolvedVoice, output: Path, settings: TtsSettings) -> list[SpokenWord]:
    """Writes the speech to `output` as a WAV, and returns its words with their times. Raises `TaskFailed`.

    The process ends with the call, also if the call is cancelled.
    """
    asked = _write_request(text, voice, output, settings)
    process = await asyncio.create_subprocess_exec(
        *tied([sys.executable, "-I", "-c", _CHILD.replace("{engine}", voice.engine), str(asked)]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED_ENVIRONMENT if name in os.environ},
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
