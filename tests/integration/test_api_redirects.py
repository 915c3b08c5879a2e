"""Downloads from a bucket: by a link to it where it answers as the API would, and through the API elsewhere."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from builders import claim_next, make_result
from fixtures.api import Api, assert_problem, open_api
from fixtures.s3_server import Bucket
from phoenix.ids import JobId, TaskId
from phoenix.jobs.execution.task_completion import succeed
from phoenix.settings import Settings
from phoenix.storage.keys import OutputName, output_key

VIDEO = bytes(range(256)) * 8000


async def finish_with(api: Api, queue: str, name: OutputName, data: bytes) -> str:
    claimed = await claim_next(api.services.database, queue)
    key = output_key(JobId(claimed.job_id), TaskId(claimed.task_id), claimed.attempt, name)

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    stored = await api.services.store.put_stream(key, chunks(), None)
    async with api.services.database.write() as uow:
        await succeed(uow, claimed, make_result(key, size_bytes=stored.size_bytes, sha256=stored.sha256))
    return key


def with_bucket(settings: Settings, bucket: Bucket, **changes: Any) -> Settings:
    return settings.model_copy(update={"storage": bucket.settings.model_copy(update=changes)})


@pytest.fixture
async def api(api_settings: Settings, bucket: Bucket) -> AsyncIterator[Api]:
    async with open_api(with_bucket(api_settings, bucket)) as opened:
        yield opened


@pytest.fixture
async def url(api: Api) -> str:
    """Of the result of a reel of one clip."""
    return await finished_url(api)


async def finished_url(api: Api) -> str:
    job = await api.submit()
    await finish_with(api, "gpu", OutputName.CLIP, b"the clip")
    await finish_with(api, "media", OutputName.OUTPUT, VIDEO)
    return (await api.show(job["id"]))["output"]["url"]


@pytest.fixture
async def outside() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=100) as http:
        yield http


async def test_a_result_is_given_out_by_the_bucket(api: Api, url: str, outside: httpx.AsyncClient) -> None:
    sent_on = await api.http.get(url)

    assert (sent_on.status_code, sent_on.content) == (307, b"")
    assert sent_on.headers["cache-control"] == "no-store"
    assert parse_qs(urlsplit(sent_on.headers["location"]).query)["X-Amz-Expires"] == ["900"]
    got = await outside.get(sent_on.headers["location"], headers={"Range": "bytes=100-"})
    assert (got.status_code, got.content) == (206, VIDEO[100:])
    assert got.headers["content-type"] == "video/mp4"


async def test_a_clip_is_given_out_by_the_bucket(api: Api, url: str, outside: httpx.AsyncClient) -> None:
    sent_on = await api.http.get(url.removesuffix("/content") + "/clips/0/content")

    assert sent_on.status_code == 307
    assert (await outside.get(sent_on.headers["location"])).content == b"the clip"


@pytest.mark.parametrize("destination", ["video", "empty"])
async def test_a_part_of_a_page_is_sent_by_the_api(api: Api, url: str, destination: str) -> None:
    response = await api.http.get(url, headers={"Sec-Fetch-Dest": destination})

    assert (response.status_code, response.content) == (200, VIDEO)


async def test_a_page_of_its_own_is_given_out_by_the_bucket(api: Api, url: str) -> None:
    assert (await api.http.get(url, headers={"Sec-Fetch-Dest": "document"})).status_code == 307


async def test_what_only_the_api_can_judge_is_answered_by_it(api: Api, url: str) -> None:
    headed = await api.http.head(url)
    etag = headed.headers["etag"]

    assert (headed.status_code, headed.headers["content-length"]) == (200, str(len(VIDEO)))
    assert (await api.http.get(url, headers={"If-None-Match": etag})).status_code == 304
    resumed = await api.http.get(url, headers={"Range": "bytes=9-", "If-Range": etag})
    assert (resumed.status_code, resumed.content) == (206, VIDEO[9:])
    assert (await api.http.get(url, headers={"If-Match": etag})).status_code == 200
    assert_problem(await api.http.get(url, headers={"If-Match": '"other"'}), 412, "PRECONDITION_FAILED")
    assert (await api.http.get(url, headers={"Range": "bytes=0-1,5-6"})).status_code == 206
    assert_problem(await api.http.get(url, headers={"Range": "bytes=9999999-"}), 416, "INVALID_REQUEST")


async def test_a_result_that_the_bucket_has_lost_is_gone(api: Api, url: str) -> None:
    await api.services.store.delete_prefix("jobs")

    assert_problem(await api.http.get(url), 410, "GONE")


async def test_an_upload_is_sent_by_the_api_which_alone_knows_its_type(api: Api, png_file) -> None:
    uploaded = await api.upload(png_file)
    assert uploaded.status_code == 201, uploaded.text

    response = await api.http.get(f"/v1/artifacts/{uploaded.json()['id']}/content")

    assert (response.status_code, response.content) == (200, png_file.read_bytes())
    assert response.headers["content-type"] == "image/png"


async def test_links_can_be_turned_off(api_settings: Settings, bucket: Bucket) -> None:
    async with open_api(with_bucket(api_settings, bucket, redirect_downloads=False)) as api:
        response = await api.http.get(await finished_url(api))

    assert (response.status_code, response.content) == (200, VIDEO)
