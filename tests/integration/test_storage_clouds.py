"""The stores of Google (with a server of S3) and of Azure: objects, listings, faults and signed URLs."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from phoenix.cli.diagnosis.finding import CheckStatus
from phoenix.cli.diagnosis.object_store import check_object_store
from phoenix.errors import PayloadTooLarge
from phoenix.ids import new_artifact_id, new_job_id, new_task_id
from phoenix.settings import StorageSettings
from phoenix.storage.errors import ObjectMissing, StoreFailed
from phoenix.storage.keys import OutputName, job_prefix, output_key, upload_key
from phoenix.storage.store import ArtifactStore, StoredObject, find_link_origin, open_store

JOB = new_job_id()
VIDEO = output_key(JOB, new_task_id(), 1, OutputName.CLIP)
OTHER = output_key(JOB, new_task_id(), 1, OutputName.CLIP)
UPLOAD = upload_key(new_artifact_id())
LARGE = bytes(range(251)) * 60_000  # 15 MB: three parts of an upload


@pytest.fixture(params=["google_bucket", "azure_container"])
def storage(request: pytest.FixtureRequest) -> StorageSettings:
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(storage: StorageSettings) -> ArtifactStore:
    return open_store(storage, default_folder=Path("unused"))


async def chunks(content: bytes, size_bytes: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


async def read(store: ArtifactStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "at once", "in parts"])
async def test_an_object_is_measured_and_read_back_whole_and_in_part(store: ArtifactStore, content: bytes) -> None:
    stored = await store.put_stream(VIDEO, chunks(content), None)

    assert stored == StoredObject(len(content), hashlib.sha256(content).hexdigest())
    assert await store.size(VIDEO) == len(content)
    assert await read(store, VIDEO) == content
    assert await read(store, VIDEO, 0, len(content) // 2) == content[: len(content) // 2]


async def test_the_objects_of_a_job_are_listed_and_deleted_together(store: ArtifactStore) -> None:
    for key in (VIDEO, OTHER, UPLOAD):
        await store.put_stream(key, chunks(b"x"), None)

    assert await store.list_prefix(job_prefix(JOB)) == sorted([VIDEO, OTHER])
    assert [sorted(each.key for each in page) async for page in store.pages("uploads")] == [[UPLOAD]]
    assert await store.delete_prefix(job_prefix(JOB)) == 2
    assert await store.list_prefix("jobs") == []
    await store.delete(VIDEO)


async def test_a_put_that_is_cut_off_stores_nothing(store: ArtifactStore) -> None:
    with pytest.raises(PayloadTooLarge):
        await store.put_stream(VIDEO, chunks(LARGE), len(LARGE) - 1)

    with pytest.raises(ObjectMissing):
        await store.size(VIDEO)


@pytest.mark.parametrize(("key", "media_type"), [(VIDEO, "video/mp4"), (UPLOAD, None)], ids=["output", "upload"])
async def test_a_signed_url_gives_parts_of_the_object_to_anyone(
    store: ArtifactStore, storage: StorageSettings, key: str, media_type: str | None
) -> None:
    await store.put_stream(key, chunks(LARGE), None)
    url = await store.signed_url(key, 60)

    assert url is not None
    assert url.startswith(f"{find_link_origin(storage)}/")
    async with httpx.AsyncClient(timeout=100) as http:
        part = await http.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, LARGE[10:20])
    given = part.headers["content-type"]
    assert given == media_type if media_type else not given.startswith(("text/", "video/"))


async def test_a_bucket_that_is_not_there_refuses_what_is_written(storage: StorageSettings) -> None:
    elsewhere = storage.model_copy(update={"url": f"{storage.scheme}://nosuchbucket", "max_retries": 0})
    store = open_store(elsewhere, default_folder=Path("unused"))
    for content in (b"x", LARGE):
        with pytest.raises(StoreFailed):
            await store.put_stream(VIDEO, chunks(content), None)


async def test_the_doctor_finds_a_bucket_well_and_leaves_it_empty(
    storage: StorageSettings, store: ArtifactStore, tmp_path: Path
) -> None:
    found = await check_object_store(storage, tmp_path)

    assert (found.status, found.detail) == (CheckStatus.OK, storage.url)
    assert await store.list_prefix("uploads") == []
