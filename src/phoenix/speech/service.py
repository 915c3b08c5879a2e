"""Speech by a service with OpenAI's `/audio/speech`, which many local servers offer too. It gives no times of words."""

import json
from pathlib import Path
from typing import Any

import httpx

from phoenix.contract import ResolvedVoice
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import TtsSettings

_MOST_QUOTED = 200
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS, _SERVER_ERROR = 408, 429, 500
_MODERATED = ("content_policy_violation", "moderation_blocked", "content_filter")


async def speak_by_service(
    text: str,
    voice: ResolvedVoice,
    output: Path,
    settings: TtsSettings,
    transport: httpx.AsyncBaseTransport | None = None,
) -> None:
    """Writes the speech to `output`, in the format of the service. Raises `TaskFailed`."""
    key = settings.api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    body = {"model": voice.model, "voice": voice.name, "input": text, "response_format": "mp3"}
    url = f"{str(settings.base_url).rstrip('/')}/audio/speech"
    try:
        async with (
            httpx.AsyncClient(timeout=settings.timeout_s, transport=transport) as client,
            client.stream("POST", url, json=body, headers=headers) as response,
        ):
            if not response.is_success:
                raise _refused(response.status_code, (await response.aread())[:10_000])
            await _write(response, output, settings.max_speech_bytes)
    except httpx.HTTPError as error:
        detail = f"the speech service gave no answer: {type(error).__name__}"
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.NARRATION, retriable=True) from error


async def _write(response: httpx.Response, output: Path, max_bytes: int) -> None:
    size = 0
    with output.open("wb") as file:
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > max_bytes:
                detail = f"the speech is larger than {max_bytes} bytes (PHOENIX_TTS__MAX_SPEECH_BYTES)"
                raise TaskFailed(FailureCode.MEDIA_LIMIT, detail, stage=Stage.NARRATION)
            file.write(chunk)


def _refused(status: int, body: bytes) -> TaskFailed:
    """The failure for an answer that is no speech. Its text has what the service says, and never the key."""
    code, message = _read_error(body)
    detail = f"the speech service answered {status}{f': {message}' if message else ''}"
    if status == _TOO_MANY_REQUESTS:
        return TaskFailed(FailureCode.UPSTREAM_RATE_LIMITED, detail, stage=Stage.NARRATION, retriable=True)
    if code in _MODERATED:
        return TaskFailed(FailureCode.MODERATED, detail, stage=Stage.NARRATION)
    is_passing = status >= _SERVER_ERROR or status == _REQUEST_TIMEOUT
    return TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.NARRATION, retriable=is_passing)


def _read_error(body: bytes) -> tuple[str, str]:
    """Code and message of an answer in OpenAI's form; empty for any other."""
    try:
        error: Any = json.loads(body)["error"]
        return str(error.get("code") or ""), str(error.get("message") or "")[:_MOST_QUOTED]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
