"""`/v1/videos` as tools for OpenRouter and LiteLLM call it: requests as their sources send them, and the answers."""

import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from fixtures.api import Api, open_api
from fixtures.callers import GuardedApi
from phoenix.settings import Settings, VideosSettings
from phoenix.storage.keys import OutputName

I2V = "wan-2.1-i2v-14b-480p"
FLF2V = "wan-2.1-flf2v-14b-720p"


def picture(side: int = 64) -> str:
    written = BytesIO()
    Image.effect_noise((side, side), 90).save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def frame(url: str, frame_type: str = "first_frame") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, "frame_type": frame_type}


def vimax_request(model: str, *frames: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """As `VideoGeneratorOpenRouterAPI` of ViMax builds it, after it has read the list of models."""
    body = {"model": model, "prompt": "a cat", "aspect_ratio": "16:9", "duration": 5, "resolution": "480p", **fields}
    return body | ({"frame_images": list(frames)} if frames else {})


async def ask(api: Api, **body: Any) -> httpx.Response:
    return await api.http.post("/v1/videos", json=body)


def fault_of(response: httpx.Response) -> tuple[int, str | None, str]:
    error = response.json()["error"]
    return response.status_code, error["param"], error["message"]


async def request_of(api: Api, video: dict[str, Any]) -> dict[str, Any]:
    return (await api.show("job_" + video["id"].removeprefix("video_")))["request"]


async def finish(api: Api) -> None:
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the video")


async def test_vimax_gets_a_video_from_its_first_request_to_the_file(guarded: GuardedApi) -> None:
    api = await guarded.caller()
    listed = (await api.http.get("/v1/videos/models")).json()["data"]
    entry = next(each for each in listed if each["id"] == I2V)
    assert ("480p" in entry["supported_resolutions"], entry["supported_frame_images"]) == (True, ["first_frame"])
    assert 5 in entry["supported_durations"]

    created = await ask(api, **vimax_request(I2V, frame(picture(256))))
    assert created.status_code == 202, created.text
    assert created.json()["status"] == "pending"
    await finish(api)
    polled = (await api.http.get(created.json()["polling_url"])).json()

    assert polled["status"] == "completed"
    # ViMax sends its key to no other host than OpenRouter's.
    content = await guarded.api.http.get(polled["unsigned_urls"][0], headers={"Authorization": ""})
    assert (content.status_code, content.content) == (200, b"the video")


async def test_frames_and_references_are_conditions_in_their_roles(api: Api) -> None:
    response = await ask(
        api, **vimax_request(FLF2V, frame(picture()), frame(picture(80), "last_frame"), resolution="720p")
    )

    assert response.status_code == 202, response.text
    conditions = (await request_of(api, response.json()))["clips"][0]["conditions"]
    assert [each["role"] for each in conditions] == ["first_frame", "last_frame"]
    assert len({each["source"]["artifact_id"] for each in conditions}) == 2


async def test_the_fields_of_openrouter_are_those_of_a_reel(api: Api) -> None:
    response = await ask(
        api,
        model="animatic",
        prompt="a cat",
        duration=2,
        resolution="480P",
        aspect_ratio="9:16",
        seed=7,
        generate_audio=False,
        callback_url="https://example.com/hook",
        provider={"options": {"alibaba": {"turbo": True}}},
    )

    assert response.status_code == 202, response.text
    video = response.json()
    assert (video["seconds"], video["size"]) == ("2", "480x854")
    request = await request_of(api, video)
    assert (request["clip_sound"], request["clips"][0]["seed"]) == ("drop", 7)
    job = await api.show("job_" + video["id"].removeprefix("video_"))
    assert job["metadata"]["video_protocol"] == "openrouter"


async def test_a_canceled_video_says_so_in_the_words_of_whoever_asked(api: Api) -> None:
    routed, plain = await ask(api, prompt="a", duration=1), await ask(api, prompt="a", seconds=1)
    for video in (routed, plain):
        await api.http.post(f"/v1/jobs/job_{video.json()['id'].removeprefix('video_')}/cancel")

    shown = [(await api.http.get(f"/v1/videos/{each.json()['id']}")).json() for each in (routed, plain)]
    assert [(each["status"], each["error"]) for each in shown] == [
        ("cancelled", "The job was canceled."),
        ("failed", {"code": "cancelled", "message": "The job was canceled."}),
    ]
    listed = (await api.http.get("/v1/videos")).json()["data"]
    assert {each["status"] for each in listed} == {"failed"}


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"duration": 500}, "duration", "animatic"),
        ({"resolution": "4K"}, "resolution", "240p"),
        ({"model": I2V, "resolution": "1080p", "frame_images": [frame(picture())]}, "resolution", "480p"),
        ({"generate_audio": True}, "generate_audio", "animatic makes no sound"),
        ({"seconds": 1, "duration": 1}, None, "seconds or duration"),
        ({"size": "426x240", "resolution": "240p"}, None, "not both"),
        ({"model": I2V, "frame_images": [frame(picture()), frame("data:a/b;base64,?")]}, "frame_images.1", "base64"),
        ({"model": I2V, "frame_images": [frame("http://example.com/a.png")]}, "frame_images.0", "only https"),
        ({"model": I2V, "frame_images": [frame("https://127.0.0.1/a.png")]}, "frame_images.0", "may not be fetched"),
        ({"model": I2V, "frame_images": [frame(picture(), "last_frame")]}, "frame_images", "last_frame"),
        ({"input_references": [{"type": "video_url", "video_url": {"url": "x"}}]}, "input_references.0.type", "image"),
        ({"callback_url": "https://10.0.0.1/"}, "callback_url", "URL"),
    ],
)
async def test_a_refusal_names_the_field_that_was_sent(
    api: Api, body: dict[str, Any], param: str | None, said: str
) -> None:
    status, named, message = fault_of(await ask(api, **{"prompt": "a", **body}))

    assert (status, named) == (400, param), message
    assert said in message
    assert api.stored_files() == []


async def test_a_picture_larger_than_other_bodies_is_taken(api_settings: Settings) -> None:
    limits = api_settings.limits.model_copy(update={"max_body_bytes": 50_000})
    async with open_api(api_settings.model_copy(update={"limits": limits}), leads=False) as api:
        url = picture(400)
        assert len(url) > 100_000

        assert (await ask(api, **vimax_request(I2V, frame(url)))).status_code == 202
        assert (await ask(api, prompt="a", negative_prompt=url)).status_code == 400
        assert (await ask(api, prompt="a" * 60_000)).status_code == 413


async def test_a_retry_with_the_same_key_and_pictures_makes_one_video(api: Api) -> None:
    body, headers = vimax_request(I2V, frame(picture())), {"Idempotency-Key": "once"}

    first, again = [await api.http.post("/v1/videos", json=body, headers=headers) for _ in range(2)]

    assert first.json()["id"] == again.json()["id"]
    assert len(api.stored_files()) == 1


async def test_litellm_gets_what_it_asks_for(api: Api) -> None:
    created = await ask(api, model="animatic", prompt="a cat", seconds="1", size="480x854", user="user-7")
    assert created.status_code == 200, created.text
    path = f"/v1/videos/{created.json()['id']}"
    await finish(api)

    shown = (await api.http.get(path)).json()
    content = await api.http.get(f"{path}/content", params={"video_id": shown["id"]})
    remixed = await api.http.post(f"{path}/remix", json={"prompt": "a dog"})
    extended = await api.http.post(
        "/v1/videos/extensions", json={"prompt": "on", "seconds": "1", "video": {"id": shown["id"]}}
    )
    listed = await api.http.get("/v1/videos", params={"limit": "2", "order": "desc"})

    assert (shown["status"], shown["seconds"], content.content) == ("completed", "1", b"the video")
    assert (remixed.status_code, extended.status_code) == (200, 200)
    assert [each["id"] for each in listed.json()["data"]] == [extended.json()["id"], remixed.json()["id"]]
    job = await api.show("job_" + shown["id"].removeprefix("video_"))
    assert job["metadata"]["video_user"] == "user-7"


async def test_litellm_sends_a_form_with_a_picture_and_a_body_with_a_deletion(api: Api, png_bytes: bytes) -> None:
    fields = {"model": I2V, "prompt": "a cat", "seconds": "4"}
    picture = {"input_reference": ("input_reference.png", png_bytes, "image/png")}

    created = await api.http.post("/v1/videos", data=fields, files=picture)
    assert created.status_code == 200, created.text
    await finish(api)
    deleted = await api.http.request("DELETE", f"/v1/videos/{created.json()['id']}", json={})

    assert (created.json()["model"], deleted.json()["deleted"]) == (I2V, True)


async def test_names_of_the_settings_stand_for_models_and_sizes(api_settings: Settings) -> None:
    videos = VideosSettings(models={"sora-2": "animatic"}, sizes={"1792x1024": "1280x720"})
    async with open_api(api_settings.model_copy(update={"videos": videos}), leads=False) as api:
        video = (await ask(api, model="sora-2", prompt="a", size="1792x1024", seconds="1")).json()
        listed = (await api.http.get("/v1/videos/models")).json()["data"]

    assert (video["model"], video["size"]) == ("animatic", "1280x720")
    assert [each["canonical_slug"] for each in listed if each["id"] == "sora-2"] == ["animatic"]


async def test_the_routes_can_be_switched_off(api_settings: Settings) -> None:
    off = api_settings.model_copy(update={"videos": VideosSettings(enabled=False)})
    async with open_api(off, leads=False) as api:
        assert (await api.http.get("/v1/videos")).status_code == 404
        assert (await api.http.get("/v1/jobs")).status_code == 200


@pytest.fixture
async def api_with_editor(api_settings: Settings) -> AsyncIterator[Api]:
    videos = VideosSettings(edit_model="lucy-edit-dev")
    async with open_api(api_settings.model_copy(update={"videos": videos}), leads=False) as api:
        yield api


@pytest.fixture
def mp4_bytes(mp4_file: Path) -> bytes:
    return mp4_file.read_bytes()


async def test_an_edit_moves_like_the_video_and_shows_the_prompt(api_with_editor: Api) -> None:
    api = api_with_editor
    video = (await ask(api, prompt="a cat", size="480x854", seconds="1")).json()
    await finish(api)

    response = await api.http.post("/v1/videos/edits", json={"prompt": "a dog", "video": {"id": video["id"]}})

    assert response.status_code == 200, response.text
    edited = response.json()
    assert (edited["model"], edited["size"], edited["prompt"]) == ("lucy-edit-dev", "480x832", "a dog")
    assert edited["remixed_from_video_id"] == video["id"]
    (condition,) = (await request_of(api, edited))["clips"][0]["conditions"]
    assert condition["role"] == "source_video"


async def test_a_file_can_be_edited(api: Api, mp4_bytes: bytes) -> None:
    response = await api.http.post(
        "/v1/videos/edits",
        files={
            "prompt": (None, "a dog"),
            "model": (None, "lucy-edit-dev"),
            "video": ("a.mp4", mp4_bytes),
        },
    )

    assert response.status_code == 200, response.text
    assert json.loads(response.text)["model"] == "lucy-edit-dev"


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({}, "video", "give the `id`"),
        ({"model": "animatic"}, "video", "give the `id`"),
    ],
)
async def test_an_edit_of_nothing_is_refused(api: Api, body: dict[str, Any], param: str, said: str) -> None:
    response = await api.http.post("/v1/videos/edits", json={"prompt": "a dog", **body})

    status, named, message = fault_of(response)
    assert (status, named) == (400, param)
    assert said in message


@pytest.mark.parametrize(
    ("model", "said"), [({}, "or send POST /v1/videos/{video_id}/remix"), ({"model": "animatic"}, "lucy-edit-dev")]
)
async def test_an_edit_without_a_model_for_it_names_those_there_are(api: Api, model: dict[str, str], said: str) -> None:
    video = (await ask(api, prompt="a cat", seconds="1")).json()
    await finish(api)

    response = await api.http.post("/v1/videos/edits", json={"prompt": "a dog", "video": {"id": video["id"]}, **model})

    status, named, message = fault_of(response)
    assert (status, named) == (400, "model")
    assert said in message
