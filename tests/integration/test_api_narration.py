"""Narration through the API: the voice that a reel gets, what is refused and why, and what an edit speaks again."""

from typing import Any

import httpx
import pytest

from fixtures.api import Api, open_api
from phoenix.settings import Settings, TtsSettings
from phoenix.speech.voices import NO_ENGINE


async def post(api: Api, *narration: str, **changes: Any) -> httpx.Response:
    clips = [{"prompt": f"a fox, {index}", "narration": text} for index, text in enumerate(narration)]
    return await api.http.post("/v1/reels", json={"clips": clips, "seed": 7, **changes})


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def with_speech(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"tts": TtsSettings.model_validate(changes)})


async def test_a_narrated_reel_says_which_voice_speaks(api_settings: Settings) -> None:
    service = with_speech(api_settings, base_url="http://127.0.0.1:9/v1", model="tts", voice="alloy")
    async with open_api(service, leads=False) as api:
        job = (await post(api, "hello", "")).json()
        silent = (await post(api, "")).json()

    assert [clip["narration"] for clip in job["clips"]] == ["hello", ""]
    assert job["request"]["voice"] == {"engine": "openai", "model": "tts", "name": "alloy"}
    assert silent["request"]["voice"] is None


async def test_a_server_without_a_voice_refuses_each_narration_by_name(api_settings: Settings) -> None:
    async with open_api(with_speech(api_settings, engine="off"), leads=False) as api:
        errors = errors_of(await post(api, "one", "", "three"))

    assert errors == {"/clips/0/narration": NO_ENGINE, "/clips/2/narration": NO_ENGINE}


async def test_a_service_without_a_default_voice_asks_for_one(api_settings: Settings) -> None:
    service = with_speech(api_settings, base_url="http://127.0.0.1:9/v1")
    async with open_api(service, leads=False) as api:
        refused = errors_of(await post(api, "hello"))
        accepted = await post(api, "hello", voice="nova")

    assert list(refused) == ["/voice"]
    assert accepted.status_code == 202


@pytest.mark.parametrize("voice", ["../secret", "a/b", "", "x" * 129])
async def test_a_voice_is_a_name_and_no_path(api: Api, voice: str) -> None:
    assert list(errors_of(await post(api, "hello", voice=voice))) == ["/voice"]


async def test_burned_words_that_the_font_lacks_are_named_at_the_narration(api: Api) -> None:
    assert list(errors_of(await post(api, "猫", captions="burned"))) == ["/clips/0/narration"]


async def test_an_edit_speaks_only_what_changed(api: Api) -> None:
    job = (await post(api, "one", "two")).json()
    for _ in range(2):
        await api.finish_next("gpu", "clip.mp4", b"clip")
    for name in ("narration.m4a", "narration.m4a", "output.mp4"):
        await api.finish_next("media", name, b"sound")
    change = {"op": "replace", "index": 1, "clip": {"prompt": "a fox, 1", "narration": "three"}}

    edited = (await api.http.post(f"/v1/jobs/{job['id']}/edits", json={"clips": [change]})).json()

    assert [(clip["narration"], clip["reused"]) for clip in edited["clips"]] == [("one", True), ("three", True)]
    # One speech and the assembly are left.
    for name in ("narration.m4a", "output.mp4"):
        await api.finish_next("media", name, b"sound")
    assert (await api.show(edited["id"]))["state"] == "succeeded"


async def test_a_voice_that_espeak_lacks_is_refused_before_there_is_a_job(api_settings: Settings) -> None:
    async with open_api(with_speech(api_settings, engine="espeak"), leads=False) as api:
        refused = errors_of(await post(api, "hello", voice="klingon-deep"))
        accepted = await post(api, "hello", voice="de")
        unspoken = await post(api, "", voice="klingon-deep")

    assert list(refused) == ["/voice"]
    assert "no voice 'klingon-deep'" in refused["/voice"]
    assert (accepted.status_code, unspoken.status_code) == (202, 202)
