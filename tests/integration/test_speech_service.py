"""A speech service as it may answer: too much, in an odd form, or with a refusal that must not show the key."""

import json
from pathlib import Path

import pytest

from fixtures.scripted_server import Answer, ScriptedServer
from fixtures.speech import ALLOY, SPEECH_PATH, service_settings, spoken, tone
from phoenix.errors import FailureCode, TaskFailed
from phoenix.speech.speaking import speak


async def test_the_answer_is_kept_as_it_is(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(0.5))

    words = await speak("hello", ALLOY, tmp_path / "a.wav", service_settings(scripted_server.url))

    assert words == []
    assert (tmp_path / "a.wav").read_bytes() == tone(0.5)


async def test_a_server_without_a_key_is_asked_without_one(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(0.1))

    await speak("hello", ALLOY, tmp_path / "a.wav", service_settings(scripted_server.url, api_key=None))

    assert "authorization" not in scripted_server.received[0].headers


async def test_more_than_the_limit_is_not_stored(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(200, bytes(200_000)))

    with pytest.raises(TaskFailed, match="PHOENIX_TTS__MAX_SPEECH_BYTES") as failed:
        await speak("hello", ALLOY, tmp_path / "a.wav", service_settings(scripted_server.url, max_speech_bytes=100_000))

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MEDIA_LIMIT, False)
    assert (tmp_path / "a.wav").stat().st_size <= 100_000


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"message": null}}'])
async def test_a_refusal_in_any_form_becomes_a_failure(
    scripted_server: ScriptedServer, tmp_path: Path, body: bytes
) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(404, body))

    with pytest.raises(TaskFailed, match="the speech service answered 404") as failed:
        await speak("hello", ALLOY, tmp_path / "a.wav", service_settings(scripted_server.url))

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, False)


@pytest.mark.parametrize(
    ("status", "code", "is_retriable"),
    [
        (429, FailureCode.UPSTREAM_RATE_LIMITED, True),
        (500, FailureCode.MODEL_UNAVAILABLE, True),
        (408, FailureCode.MODEL_UNAVAILABLE, True),
        (400, FailureCode.MODEL_UNAVAILABLE, False),
    ],
)
async def test_what_may_pass_is_tried_again(
    scripted_server: ScriptedServer, tmp_path: Path, status: int, code: FailureCode, *, is_retriable: bool
) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(status, json.dumps({"error": {"message": "later"}}).encode()))

    with pytest.raises(TaskFailed, match="later") as failed:
        await speak("hello", ALLOY, tmp_path / "a.wav", service_settings(scripted_server.url))

    assert (failed.value.code, failed.value.retriable) == (code, is_retriable)


async def test_a_connection_that_breaks_is_tried_again(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(200, tone(0.1)[:100], breaks=True))

    with pytest.raises(TaskFailed, match="gave no answer") as failed:
        await speak("hello", ALLOY, tmp_path / "a.wav", service_settings(scripted_server.url))

    assert failed.value.retriable is True
