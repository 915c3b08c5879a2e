"""What every store does, tried on a local folder, in memory and in a bucket; and what only a disk can do wrong."""

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from fixtures.s3_server import Bucket
from phoenix.errors import PayloadTooLarge
from phoenix.ids import new_artifact_id, new_job_id, new_task_id
from phoenix.storage.errors import ObjectMissing, StoreFailed
from phoenix.storage.keys import OutputName, job_prefix, output_key, upload_key
from phoenix.storage.store import SEND_CHUNK_BYTES, ArtifactStore, StoredObject, open_folder, open_store

KEY = upload_key(new_artifact_id())
LARGE = bytes(range(251)) * 60_000  # 15 MB: three parts of a multipart upload


@pytest.fixture(params=["folder", "memory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    match request.param:
        case "folder":
            return open_folder(tmp_path / "store")
        case "memory":
            return ArtifactStore(MemoryStore())
        case _:
            bucket: Bucket = request.getfixturevalue("bucket")
            return open_store(bucket.settings, default_folder=tmp_path)


async def chunks(content: bytes, size_bytes: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


async def read(store: ArtifactStore, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(KEY, start, end)])


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "small", "large"])
async def test_what_was_put_is_measured_and_read_back(store: ArtifactStore, content: bytes) -> None:
    stored = await store.put_stream(KEY, chunks(content), max_bytes=len(content))
    assert stored == StoredObject(len(content), hashlib.sha256(content).hexdigest())
    assert await store.size(KEY) == len(content)
    assert await read(store) == content


async def test_a_file_is_put_and_downloaded_unchanged(store: ArtifactStore, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(LARGE)
    stored = await store.put_file(KEY, source)
    assert stored == StoredObject(len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert await store.download_to(KEY, copy) == len(LARGE)
    assert copy.read_bytes() == LARGE
    assert source.exists()


async def test_a_put_replaces_what_was_there(store: ArtifactStore) -> None:
    await store.put_stream(KEY, chunks(b"before"), None)
    await store.put_stream(KEY, chunks(b"after"), None)
    assert await read(store) == b"after"


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (5, 5), (7, 3), (SEND_CHUNK_BYTES - 1, SEND_CHUNK_BYTES + 1), (100, None), (0, 3 * SEND_CHUNK_BYTES)],
)
async def test_a_range_is_read_without_its_end(store: ArtifactStore, start: int, end: int | None) -> None:
    await store.put_stream(KEY, chunks(LARGE), None)
    assert await read(store, start, end) == LARGE[start:end]


async def test_reading_takes_one_chunk_at_a_time(store: ArtifactStore) -> None:
    await store.put_stream(KEY, chunks(LARGE), None)
    assert max([len(chunk) async for chunk in store.read(KEY)]) == SEND_CHUNK_BYTES


@pytest.mark.parametrize("max_bytes", [0, 1, 6_000_000, len(LARGE) - 1])
async def test_too_many_bytes_are_cut_off_and_nothing_stays(
    store: ArtifactStore, max_bytes: int, tmp_path: Path
) -> None:
    with pytest.raises(PayloadTooLarge):
        await store.put_stream(KEY, chunks(LARGE), max_bytes)
    with pytest.raises(ObjectMissing):
        await store.size(KEY)
    assert files_under(tmp_path) == []


async def test_a_source_that_breaks_off_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield LARGE
        raise EOFError("the client went away")

    with pytest.raises(EOFError):
        await store.put_stream(KEY, breaks_off(), None)
    assert files_under(tmp_path) == []


async def test_a_put_that_is_cancelled_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    is_underway = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield LARGE
        is_underway.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put_stream(KEY, stalls(), None))
    await is_underway.wait()
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    with pytest.raises(ObjectMissing):
        await store.size(KEY)
    # The staged file is removed by obstore's own threads, a moment after the cancellation.
    for _ in range(6000):
        if not files_under(tmp_path):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"left behind: {files_under(tmp_path)}")


async def test_a_missing_object_is_missing_for_every_question(store: ArtifactStore, tmp_path: Path) -> None:
    for question in (store.size(KEY), read(store), read(store, 0, 10), store.download_to(KEY, tmp_path / "copy")):
        with pytest.raises(ObjectMissing):
            await question
    assert files_under(tmp_path) == []


async def test_deleting_twice_is_harmless(store: ArtifactStore) -> None:
    await store.put_stream(KEY, chunks(b"x"), None)
    await store.delete(KEY)
    await store.delete(KEY)
    with pytest.raises(ObjectMissing):
        await store.size(KEY)


async def test_a_jobs_objects_are_listed_and_deleted_together(store: ArtifactStore, tmp_path: Path) -> None:
    job_id, other_id, task_id = new_job_id(), new_job_id(), new_task_id()
    keys = [output_key(job_id, task_id, attempt, OutputName.CLIP) for attempt in (1, 2)]
    other = output_key(other_id, task_id, 1, OutputName.CLIP)
    for key in (*keys, other):
        await store.put_stream(key, chunks(b"x"), None)
    assert await store.list_prefix(job_prefix(job_id)) == keys
    assert await store.delete_prefix(job_prefix(job_id)) == 2
    assert await store.list_prefix(job_prefix(job_id)) == []
    assert await store.list_prefix("jobs") == [other]
    assert not (tmp_path / "store" / "jobs" / job_id).exists()


async def test_text_that_is_no_key_is_refused_by_every_call(store: ArtifactStore, tmp_path: Path) -> None:
    for key in ("../x", "/etc/passwd", "uploads/../../x"):
        for call in (
            store.put_stream(key, chunks(b"x"), None),
            store.size(key),
            store.delete(key),
            store.list_prefix(key),
            store.signed_url(key, 60),
            store.download_to(key, tmp_path / "copy"),
            anext(aiter(store.read(key, 0, 1))),
        ):
            with pytest.raises(ValueError, match="not a"):
                await call


async def test_a_folder_signs_no_urls(tmp_path: Path) -> None:
    assert await open_folder(tmp_path).signed_url(KEY, 60) is None


async def test_a_missing_source_file_is_the_callers_error(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put_file(KEY, tmp_path / "missing")


async def test_a_store_that_cannot_be_written_refuses(tmp_path: Path) -> None:
    store = open_folder(tmp_path)
    (tmp_path / "uploads").write_text("a file where a folder should be")
    with pytest.raises(StoreFailed):
        await store.put_stream(KEY, chunks(LARGE), None)


async def test_a_full_disk_refuses_and_nothing_stays(tmp_path: Path) -> None:
    store = open_folder(tmp_path / "store")
    with files_no_larger_than(2_000_000), pytest.raises(StoreFailed):
        await store.put_stream(KEY, chunks(LARGE), None)
    assert files_under(tmp_path) == []
    await store.put_stream(KEY, chunks(LARGE), None)


async def test_a_full_disk_stops_a_download_and_nothing_stays(tmp_path: Path) -> None:
    store = open_folder(tmp_path / "store")
    await store.put_stream(KEY, chunks(LARGE), None)
    with files_no_larger_than(2_000_000), pytest.raises(StoreFailed):
        await store.download_to(KEY, tmp_path / "copy")
    assert files_under(tmp_path) == [tmp_path / "store" / KEY]


async def test_two_puts_at_once_leave_one_whole_object(store: ArtifactStore) -> None:
    contents = [bytes([number]) * 7_000_000 for number in range(4)]
    await asyncio.gather(*(store.put_stream(KEY, chunks(content), None) for content in contents))
    assert await read(store) in contents


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """Writes beyond this fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
