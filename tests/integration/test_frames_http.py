"""The HTTP next to the sessions: videos and who may see them, tokens, health, metrics, and problems with names."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fixtures.api import open_api
from fixtures.echo_frames import EchoFront, open_echo_front
from phoenix.access.keys import Scope, create_key
from phoenix.ids import new_artifact_id
from phoenix.services import open_database
from phoenix.settings import Settings

VIDEOS = "/v1/frames/videos"


@pytest.fixture
async def http(echo_front: EchoFront) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=echo_front.url, timeout=100) as client:
        yield client


async def test_a_file_becomes_a_video(http: httpx.AsyncClient, echo_front: EchoFront) -> None:
    answer = await http.post(f"{VIDEOS}?model=m&box=1,2,30,40", content=b"a face")
    video = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"{VIDEOS}/{video['video_id']}"
    assert (await http.get(answer.headers["location"])).json() == video
    assert echo_front.service.sources == [b"a face"]


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,x", "-1,0,20,20", "0,0,4,4"])
async def test_a_wrong_box_is_refused_with_its_name(http: httpx.AsyncClient, box: str) -> None:
    answer = await http.post(f"{VIDEOS}?box={box}", content=b"a face")

    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
    assert answer.json()["errors"][0]["pointer"] == "/box"


async def test_a_file_without_a_face_is_refused_with_the_reason(http: httpx.AsyncClient) -> None:
    answer = await http.post(VIDEOS, content=b"no face")

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["detail"]) == (422, "/box: there is no face in this file; give a box")


async def test_an_empty_body_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post(VIDEOS)).json()["errors"][0]["pointer"] == "/video"


async def test_a_file_that_is_too_large_is_refused(api_settings: Settings) -> None:
    limits = api_settings.limits.model_copy(update={"max_upload_bytes": 10})
    async with (
        open_echo_front(api_settings.model_copy(update={"limits": limits})) as front,
        httpx.AsyncClient(base_url=front.url, timeout=100) as http,
    ):
        answer = await http.post(VIDEOS, content=bytes(11))

    assert (answer.status_code, answer.json()["code"]) == (413, "MESSAGE_TOO_LARGE")


@pytest.mark.parametrize(
    ("body", "pointer"), [({}, "/artifact_id"), ({"artifact_id": "art_1", "box": {"x": 1}}, "/box/y")]
)
async def test_a_wrong_json_is_refused_with_the_field(http: httpx.AsyncClient, body: object, pointer: str) -> None:
    answer = await http.post(VIDEOS, json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_an_artifact_that_does_not_exist_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await http.post(VIDEOS, json={"artifact_id": new_artifact_id()})

    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_an_upload_of_the_api_becomes_a_video(
    http: httpx.AsyncClient, echo_front: EchoFront, api_settings: Settings, png_file: Path
) -> None:
    async with open_api(api_settings, leads=False) as api:
        uploaded = (await api.upload(png_file)).json()
    answer = await http.post(VIDEOS, json={"artifact_id": uploaded["id"]})

    assert answer.status_code == 201
    assert echo_front.service.sources == [await asyncio.to_thread(png_file.read_bytes)]


async def test_a_video_that_the_service_has_forgotten_is_not_found(
    http: httpx.AsyncClient, echo_front: EchoFront
) -> None:
    video_id = await echo_front.register()
    echo_front.service.forget(video_id)

    assert (await http.get(f"{VIDEOS}/{video_id}")).status_code == 404


async def test_a_removed_video_is_gone(http: httpx.AsyncClient, echo_front: EchoFront) -> None:
    path = f"{VIDEOS}/{await echo_front.register()}"

    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).status_code == 404


async def test_a_key_has_only_so_many_videos(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, videos_per_key=1) as front:
        await front.register()
        async with httpx.AsyncClient(base_url=front.url, timeout=100) as http:
            answer = await http.post(VIDEOS, content=b"a face")

    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_VIDEOS")


async def test_videos_need_a_key_that_may_write(guarded_front: EchoFront, api_settings: Settings) -> None:
    database = open_database(api_settings)
    async with database.write() as uow:
        key = await create_key(uow, "reader", [Scope.READ])
    await database.close()
    async with httpx.AsyncClient(base_url=guarded_front.url, timeout=100) as http:
        without = await http.post(VIDEOS, content=b"a face")
        reading = await http.post(VIDEOS, content=b"a face", headers={"Authorization": f"Bearer {key}"})

    assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer")
    assert (reading.status_code, reading.json()["code"]) == (403, "FORBIDDEN")


async def test_a_page_of_another_origin_changes_nothing_where_no_key_is_needed(http: httpx.AsyncClient) -> None:
    answer = await http.post(VIDEOS, content=b"a face", headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_a_path_that_does_not_exist_is_a_problem(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/frames/nothing")

    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_the_server_is_ready_while_an_engine_is_alive(http: httpx.AsyncClient, echo_front: EchoFront) -> None:
    ready = await http.get("/health/ready")
    echo_front.service.is_alive = False
    lost = await http.get("/health/ready")

    assert (ready.status_code, ready.json()["checks"]) == (200, {"cpu": "ok"})
    assert (lost.status_code, lost.json()["code"]) == (503, "UNAVAILABLE")
    assert (await http.get("/health/live")).status_code == 200


async def test_the_metrics_count_videos_and_faults(http: httpx.AsyncClient, echo_front: EchoFront) -> None:
    await echo_front.register()
    await http.get(f"{VIDEOS}/vid_unknown")
    text = (await http.get("/metrics")).text

    assert "phoenix_frames_videos 1.0" in text
    assert 'phoenix_frames_faults_total{fault="NOT_FOUND",transport="http"} 1.0' in text
