"""What `phoenix doctor` finds about the services and the options of a server."""

from pathlib import Path
from typing import Any

import pytest

from fixtures.certificates import Authority
from fixtures.llm_server import LlmServer
from fixtures.scripted_server import Answer
from phoenix.cli.diagnosis.extras import check_credentials, check_search
from phoenix.cli.diagnosis.finding import CheckStatus
from phoenix.cli.diagnosis.writers_and_voices import check_llm, check_voice
from phoenix.settings import LlmSettings, SearchSettings, Settings, TtsSettings


def settings(folder: Path, **groups: Any) -> Settings:
    return Settings(data_dir=folder / "data", **groups)


def llm_settings(folder: Path, url: str) -> Settings:
    return settings(folder, llm=LlmSettings.model_validate({"base_url": url, "api_key": "key", "model": "small"}))


async def test_a_server_without_a_language_model_is_well(tmp_path: Path) -> None:
    found = await check_llm(settings(tmp_path))

    assert (found.status, "template" in found.detail) == (CheckStatus.OK, True)


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (Answer(200, b'{"data": []}'), CheckStatus.OK, "answers"),
        (Answer(404, b"no such route"), CheckStatus.OK, "answers"),
        (Answer(401, b"who are you"), CheckStatus.NOTE, "refuses the key"),
    ],
)
async def test_the_language_model_is_asked_without_spending_tokens(
    tmp_path: Path, llm_server: LlmServer, answer: Answer, status: CheckStatus, word: str
) -> None:
    llm_server.script = [answer]

    found = await check_llm(llm_settings(tmp_path, llm_server.url))

    assert (found.status, word in found.detail) == (status, True)
    [asked] = llm_server.received
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("GET", "/v1/models", "Bearer key")


async def test_a_service_that_is_away_is_a_note_without_its_login(tmp_path: Path) -> None:
    tts = TtsSettings.model_validate({"base_url": "http://me:secret@127.0.0.1:9/v1", "voice": "alloy"})

    found = await check_voice(settings(tmp_path, tts=tts))

    assert (found.status, "ConnectError" in found.detail) == (CheckStatus.NOTE, True)
    assert "secret" not in found.detail


async def test_a_default_voice_that_is_not_there_is_a_note(tmp_path: Path) -> None:
    found = await check_voice(settings(tmp_path, tts=TtsSettings(engine="espeak", voice="klingon-deep")))

    assert (found.status, "klingon-deep" in found.detail) == (CheckStatus.NOTE, True)
    assert "PHOENIX_TTS__VOICE" in found.remedy


async def test_the_sentence_model_computes_a_vector(tmp_path: Path) -> None:
    found = await check_search(settings(tmp_path, search=SearchSettings()))

    assert (found.status, found.detail) == (CheckStatus.OK, "with vectors of 384 numbers")


async def test_a_folder_that_has_no_model_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    (tmp_path / "tokenizer.json").write_bytes(b"{}")

    found = await check_search(settings(tmp_path, search=SearchSettings(model_dir=tmp_path)))

    assert (found.status, "cannot be read" in found.detail) == (CheckStatus.NOTE, True)


async def test_a_certificate_is_named_or_its_fault(tmp_path: Path) -> None:
    authority = Authority()
    well = await check_credentials(settings(tmp_path, c2pa=authority.signer().write(tmp_path, authority.root())))
    bad = await check_credentials(settings(tmp_path, c2pa=authority.signer(days=-1).write(tmp_path)))

    assert (well.status, well.detail.startswith("signed as CN=Signer,O=Test Org until 20")) == (CheckStatus.OK, True)
    assert (bad.status, "is valid from" in bad.detail) == (CheckStatus.MISSING, True)
