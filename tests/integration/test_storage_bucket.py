"""What only a bucket does: signed URLs, multipart uploads, and a server that refuses, hangs or is not there."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from fixtures.s3_server import Bucket
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.errors import FailureCode, PayloadTooLarge, Stage, TaskFailed
from phoenix.ids import new_artifact_id, new_job_id, new_task_id
from phoenix.storage.errors import StoreFailed, reported_as_task_failure
from phoenix.storage.keys import OutputName, output_key, upload_key
from phoenix.storage.store import ArtifactStore, find_link_origin, open_store

UPLOAD = upload_key(new_artifact_id())
VIDEO = output_key(new_job_id(), new_task_id(), 1, OutputName.CLIP)
LARGE = bytes(range(251)) * 60_000  # 15 MB: three parts of a multipart upload


def open_bucket(bucket: Bucket, **changes: Any) -> ArtifactStore:
    return open_store(bucket.settings.model_copy(update=changes), default_folder=Path("unused"))


@pytest.fixture
def store(bucket: Bucket) -> ArtifactStore:
    return open_bucket(bucket)


async def chunks(content: bytes, size_bytes: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


async def test_a_signed_url_gives_the_object_to_anyone(store: ArtifactStore) -> None:
    await store.put_stream(VIDEO, chunks(LARGE), None)
    url = await store.signed_url(VIDEO, 60)
    assert url is not None
    async with httpx.AsyncClient(timeout=100) as http:
        whole = await http.get(url)
        part = await http.get(url, headers={"Range": "bytes=10-19"})
    assert whole.content == LARGE
    assert (part.status_code, part.content) == (206, LARGE[10:20])


async def test_a_signed_url_is_for_one_object_one_method_and_a_time(store: ArtifactStore, bucket: Bucket) -> None:
    url = urlsplit(await store.signed_url(VIDEO, 90) or "")
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert url.path == f"/{bucket.name}/a/prefix/{VIDEO}"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == "90"
    assert query["X-Amz-SignedHeaders"] == "host"
    assert query["X-Amz-Credential"].startswith("an-id/")
    assert len(query["X-Amz-Signature"]) == 64
    other = urlsplit(await store.signed_url(UPLOAD, 90) or "")
    assert parse_qs(other.query)["X-Amz-Signature"] != [query["X-Amz-Signature"]]
    assert "a-secret" not in url.query


@pytest.mark.parametrize(("key", "media_type"), [(VIDEO, "video/mp4"), (UPLOAD, None)], ids=["output", "upload"])
@pytest.mark.parametrize("content", [b"small", LARGE], ids=["at once", "in parts"])
async def test_an_output_is_given_out_with_its_type_and_an_upload_without(
    store: ArtifactStore, key: str, media_type: str | None, content: bytes
) -> None:
    await store.put_stream(key, chunks(content), None)
    url = await store.signed_url(key, 60)
    assert url is not None
    async with httpx.AsyncClient(timeout=100) as http:
        given = (await http.get(url)).headers["content-type"]
    assert given == media_type if media_type else not given.startswith(("text/", "video/"))


async def test_a_put_in_parts_leaves_one_object_and_no_upload_under_way(store: ArtifactStore, bucket: Bucket) -> None:
    await store.put_stream(VIDEO, chunks(LARGE), None)
    assert bucket.keys() == [f"a/prefix/{VIDEO}"]
    assert bucket.unfinished_uploads() == []


@pytest.mark.parametrize("max_bytes", [1, 6_000_000, len(LARGE) - 1])
async def test_a_put_that_is_cut_off_leaves_no_object_and_no_upload_under_way(
    store: ArtifactStore, bucket: Bucket, max_bytes: int
) -> None:
    with pytest.raises(PayloadTooLarge):
        await store.put_stream(VIDEO, chunks(LARGE), max_bytes)
    assert bucket.keys() == []
    assert bucket.unfinished_uploads() == []


async def test_a_put_whose_source_breaks_leaves_no_upload_under_way(store: ArtifactStore, bucket: Bucket) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield LARGE
        raise EOFError("the client went away")

    with pytest.raises(EOFError):
        await store.put_stream(VIDEO, breaks_off(), None)
    assert (bucket.keys(), bucket.unfinished_uploads()) == ([], [])


async def test_a_put_that_is_cancelled_leaves_no_upload_under_way(store: ArtifactStore, bucket: Bucket) -> None:
    is_underway = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield LARGE
        is_underway.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put_stream(VIDEO, stalls(), None))
    await is_underway.wait()
    assert await asyncio.to_thread(bucket.unfinished_uploads) == [f"a/prefix/{VIDEO}"]
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert (bucket.keys(), bucket.unfinished_uploads()) == ([], [])


async def fail_in_every_way(store: ArtifactStore, copy: Path) -> None:
    """Each call is a refusal, and fails a task in a way that may pass."""
    for call in (
        store.put_stream(VIDEO, chunks(b"x"), None),
        store.put_stream(VIDEO, chunks(LARGE), None),
        store.size(VIDEO),
        store.download_to(VIDEO, copy),
        store.delete(VIDEO),
        store.list_prefix("jobs"),
    ):
        with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.UPLOAD):
            await call
        assert caught.value.code is FailureCode.STORAGE_FAILED
        assert caught.value.retriable


async def test_a_server_that_is_not_there_refuses(bucket: Bucket, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = open_bucket(bucket, s3_endpoint=f"http://127.0.0.1:{port}", max_retries=1)
    await fail_in_every_way(store, tmp_path / "copy")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (500, "InternalError"), (503, "SlowDown")])
async def test_a_server_that_refuses_refuses(
    bucket: Bucket, tmp_path: Path, scripted_server: ScriptedServer, status: int, code: str
) -> None:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    scripted_server.otherwise = Answer(status, body)
    await fail_in_every_way(open_bucket(bucket, s3_endpoint=scripted_server.url, max_retries=0), tmp_path / "copy")


async def test_a_server_that_does_not_answer_is_given_up(bucket: Bucket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = open_bucket(bucket, s3_endpoint=url, request_timeout_s=0.3, max_retries=1)
        started_s = time.monotonic()
        with pytest.raises(StoreFailed):
            await store.put_stream(VIDEO, chunks(b"x"), None)
        with pytest.raises(StoreFailed):
            await store.size(VIDEO)
    assert time.monotonic() - started_s < 60


async def test_a_bucket_that_does_not_exist_refuses_what_is_written(bucket: Bucket) -> None:
    store = open_bucket(bucket, url="s3://no-such-bucket")
    for content in (b"x", LARGE):
        with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.UPLOAD):
            await store.put_stream(VIDEO, chunks(content), None)
        assert (caught.value.code, caught.value.retriable) == (FailureCode.STORAGE_FAILED, True)


@pytest.mark.parametrize("endpoint", ["https://store.example.com:9000", None])
async def test_the_origin_of_links_is_where_signed_urls_lead(bucket: Bucket, endpoint: str | None):
    settings = bucket.settings.model_copy(update={"s3_endpoint": endpoint})
    link = await open_bucket(bucket, s3_endpoint=endpoint).signed_url(UPLOAD, 60)
    assert link is not None
    assert link.startswith(f"{find_link_origin(settings)}/")


def test_there_is_no_origin_of_links_for_a_folder_or_without_redirects(bucket: Bucket):
    for changes in ({"url": None}, {"url": "file:///data"}, {"redirect_downloads": False}):
        assert find_link_origin(bucket.settings.model_copy(update=changes)) is None
