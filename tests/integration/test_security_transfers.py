"""Downloads and uploads of one key at a time: a 429 with its own code at the limit, and a slot for every end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from fixtures.api import Api, assert_problem, form_file, open_api
from fixtures.callers import GuardedApi, id_of, open_guarded_api
from phoenix.settings import Settings
from phoenix.storage.keys import OutputName
from phoenix.storage.store import SEND_CHUNK_BYTES

VIDEO = bytes(range(256)) * (SEND_CHUNK_BYTES // 64)


@pytest.fixture
def tight_settings(api_settings: Settings) -> Settings:
    """One download and one upload at a time."""
    limits = api_settings.limits.model_copy(update={"downloads_per_key": 1, "uploads_per_key": 1})
    return api_settings.model_copy(update={"limits": limits})


@pytest.fixture
async def tight(tight_settings: Settings) -> AsyncIterator[GuardedApi]:
    async with open_guarded_api(tight_settings) as opened:
        yield opened


async def finish_reel(caller: Api) -> str:
    """The URL of a reel's result."""
    job = await caller.submit()
    await caller.finish_next("gpu", OutputName.CLIP, b"the clip")
    await caller.finish_next("media", OutputName.OUTPUT, VIDEO)
    return (await caller.show(job["id"]))["output"]["url"]


def assert_too_many(response: httpx.Response, policy: str) -> None:
    problem = assert_problem(response, 429, "TOO_MANY_TRANSFERS")
    assert problem["violated-policies"] == [policy]
    assert "Wait until one has ended" in problem["detail"]
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=0-9,20-29"}])
async def test_a_key_has_only_so_many_downloads_at_a_time(tight: GuardedApi, headers: dict[str, str]) -> None:
    key = await tight.make_key()
    caller, other = tight.client(key), await tight.caller()
    url, of_other = await finish_reel(caller), await finish_reel(other)

    async with tight.api.state.open_downloads.slot(id_of(key)):
        assert_too_many(await caller.http.get(url, headers=headers), "downloads")
        assert (await other.http.get(of_other, headers=headers)).status_code in (200, 206)
    assert (await caller.http.get(url, headers=headers)).status_code in (200, 206)


async def test_a_download_in_openais_form_counts_as_well(tight: GuardedApi) -> None:
    key = await tight.make_key()
    caller = tight.client(key)
    job_id = (await finish_reel(caller)).split("/")[3]

    async with tight.api.state.open_downloads.slot(id_of(key)):
        refused = await caller.http.get(f"/v1/videos/video_{job_id.removeprefix('job_')}/content")

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_transfers")


async def test_a_response_without_bytes_of_the_file_needs_no_slot(tight: GuardedApi) -> None:
    key = await tight.make_key()
    caller = tight.client(key)
    url = await finish_reel(caller)
    etag = (await caller.http.head(url)).headers["etag"]

    async with tight.api.state.open_downloads.slot(id_of(key)):
        responses = [
            await caller.http.head(url),
            await caller.http.get(url, headers={"If-None-Match": etag}),
            await caller.http.get(url, headers={"If-Match": '"another"'}),
            await caller.http.get(url, headers={"Range": "bytes=99999999-"}),
            await caller.http.get("/v1/jobs/job_00000000000000000000000000/content"),
        ]

    assert [response.status_code for response in responses] == [200, 304, 412, 416, 404]


async def count_open(redis: Redis, kind: str) -> int:
    return sum([await redis.zcard(key) async for key in redis.scan_iter(f"phoenix:limit:{kind}:*")])


async def test_the_slot_of_a_download_is_free_when_its_client_leaves(
    tight_settings: Settings, redis_client: Redis
) -> None:
    async with open_api(tight_settings) as api:
        url = await finish_reel(api)
        download = LeavingClient(api, url)
        await asyncio.wait_for(download.begun.wait(), 60)
        assert await count_open(redis_client, "downloads") == 1

        download.leave()
        await asyncio.wait_for(download.task, 60)

        assert await count_open(redis_client, "downloads") == 0


async def test_the_slot_of_a_download_is_free_when_its_task_is_canceled(
    tight_settings: Settings, redis_client: Redis
) -> None:
    async with open_api(tight_settings) as api:
        download = LeavingClient(api, await finish_reel(api))
        await asyncio.wait_for(download.begun.wait(), 60)

        download.task.cancel()
        await asyncio.gather(download.task, return_exceptions=True)

        assert await count_open(redis_client, "downloads") == 0


async def test_the_slot_of_a_download_is_free_when_its_file_is_gone(
    tight_settings: Settings, redis_client: Redis
) -> None:
    async with open_api(tight_settings) as api:
        download = LeavingClient(api, await finish_reel(api))
        await asyncio.wait_for(download.begun.wait(), 60)
        api.lose_stored_files()

        download.read()
        await asyncio.gather(download.task, return_exceptions=True)

        assert await count_open(redis_client, "downloads") == 0


async def test_where_no_key_is_needed_downloads_count_by_address(tight_settings: Settings) -> None:
    async with open_api(tight_settings) as api:
        url = await finish_reel(api)
        async with api.state.open_downloads.slot("127.0.0.1"):
            assert_too_many(await api.http.get(url), "downloads")
        async with api.state.open_downloads.slot("192.0.2.1"):
            assert (await api.http.get(url)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/uploads", "/v1/videos"])
async def test_an_upload_at_the_limit_is_refused_before_its_body_is_read(
    tight: GuardedApi, path: str, png_file: Path
) -> None:
    key = await tight.make_key()
    caller = tight.client(key)
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"--x\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with tight.api.state.open_uploads.slot(id_of(key)):
        refused = await caller.http.post(path, content=body(), headers=headers)
    uploaded = await caller.http.post("/v1/uploads", files=form_file(png_file))

    assert (refused.status_code, sent) == (429, 0)
    assert refused.headers["connection"] == "close"
    assert uploaded.status_code == 201


async def test_a_short_video_needs_a_slot_only_for_its_picture(tight: GuardedApi, png_bytes: bytes) -> None:
    key = await tight.make_key()
    caller = tight.client(key)
    form = {"prompt": (None, "a cat"), "model": (None, "wan-2.1-i2v-14b-480p")}
    files = {**form, "input_reference": ("p.png", png_bytes)}

    async with tight.api.state.open_uploads.slot(id_of(key)):
        plain = await caller.http.post("/v1/videos", json={"prompt": "a cat"})
        refused = await caller.http.post("/v1/videos", files=files)
    made = await caller.http.post("/v1/videos", files=files)

    assert [answer.status_code for answer in (plain, refused, made)] == [200, 429, 200], refused.text


@pytest.mark.parametrize("content", [b"--x\r\n", b"no form", b""])
async def test_the_slot_of_an_upload_is_free_when_the_upload_is_refused(
    tight: GuardedApi, content: bytes, redis_client: Redis
) -> None:
    caller = await tight.caller()

    refused = await caller.http.post(
        "/v1/uploads", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )

    assert 400 <= refused.status_code < 500
    assert await count_open(redis_client, "uploads") == 0


class LeavingClient:
    """A download whose client reads nothing after the first bytes, until it reads on or leaves."""

    def __init__(self, api: Api, path: str) -> None:
        self.begun = asyncio.Event()
        self._left, self._reading = asyncio.Event(), asyncio.Event()
        scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "query_string": b""}
        address = {"path": path, "raw_path": path.encode(), "root_path": "", "headers": [(b"host", b"localhost")]}
        self.task = asyncio.create_task(api.app({**scope, **address}, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    def read(self) -> None:
        self._reading.set()

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.begun.set()
            await self._reading.wait()
