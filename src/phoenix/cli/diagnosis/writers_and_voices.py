"""Checks what writes storyboards and what speaks narration: services of others, and engines of this machine."""

import asyncio
from importlib.util import find_spec
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from phoenix.cli.diagnosis.finding import CheckStatus, Finding
from phoenix.contract import ResolvedVoice
from phoenix.errors import FieldError, install_extra
from phoenix.settings import LlmSettings, Settings, TtsSettings
from phoenix.speech.local import find_espeak_fault
from phoenix.speech.voices import NO_ENGINE, find_engine, is_espeak_here, resolve_voice

_TIMEOUT_S = 10
_REFUSALS = (401, 403)
_OPENAI = "https://api.openai.com/v1"


async def check_llm(settings: Settings) -> Finding:
    """Asks the server of the language model for its models, which costs no tokens."""
    llm = settings.llm
    if not llm.is_configured:
        return Finding("storyboards", CheckStatus.OK, "none: a template writes storyboards")
    if find_spec("openai") is None:
        detail = f"{llm.model} cannot be asked: the package openai is missing"
        return Finding("storyboards", CheckStatus.NOTE, detail, f"For storyboards, {install_extra('llm')}.")
    return await _check_llm_server(llm)


async def _check_llm_server(llm: LlmSettings) -> Finding:
    url = llm.base_url or _OPENAI
    named = f"{llm.model} at {_without_login(url)}"
    if fault := await _find_fault(url, llm.api_key):
        remedy = "Correct PHOENIX_LLM__BASE_URL and PHOENIX_LLM__API_KEY, or start the server of the model."
        return Finding("storyboards", CheckStatus.NOTE, f"{named} {fault}", remedy)
    return Finding("storyboards", CheckStatus.OK, f"{named} answers")


async def check_voice(settings: Settings) -> Finding:
    """Looks for the voice of a reel that names none."""
    tts = settings.tts
    engine = find_engine(tts)
    if engine is None:
        return Finding("voice", CheckStatus.NOTE, "none: narration is refused", NO_ENGINE)
    voice = resolve_voice(None, tts)
    if isinstance(voice, FieldError):
        return Finding("voice", CheckStatus.NOTE, f"{engine}, without a default voice", voice.detail)
    if found := await _find_voice_fault(voice, tts):
        return found
    named = f"{voice.model} at {_without_login(str(tts.base_url))}" if engine == "openai" else engine
    return Finding("voice", CheckStatus.OK, f"{named} speaks as {voice.name}")


async def _find_voice_fault(voice: ResolvedVoice, tts: TtsSettings) -> Finding | None:
    match voice.engine:
        case "openai":
            fault = await _find_fault(str(tts.base_url), tts.api_key)
            remedy = "Correct PHOENIX_TTS__BASE_URL and PHOENIX_TTS__API_KEY, or start the service."
            detail = fault and f"{voice.model} at {_without_login(str(tts.base_url))} {fault}"
        case "espeak":
            detail = await asyncio.to_thread(find_espeak_fault, voice.name) if is_espeak_here() else "no eSpeak NG here"
            remedy = f"Correct PHOENIX_TTS__VOICE. For eSpeak NG, {install_extra('espeak')} where media workers run."
        case _:
            detail = None if find_spec("piper") else "piper is chosen, and the package piper-tts is missing here"
            remedy = "Run `pip install piper-tts onnx` where media workers run."
    return Finding("voice", CheckStatus.NOTE, detail, remedy) if detail else None


async def _find_fault(base_url: str, key: SecretStr | None) -> str | None:
    """Why a service cannot be used; None if it answers. A service that lists no models answers too."""
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            answer = await client.get(f"{base_url.rstrip('/')}/models", headers=headers)
    except httpx.HTTPError as error:
        return f"does not answer: {type(error).__name__}"
    if answer.status_code in _REFUSALS:
        return f"refuses the key: it answers {answer.status_code}"
    return None


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
