"""Multipart uploads that a killed process left in a bucket are aborted when they are old, and nobody else's are."""

import asyncio
import re
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.s3_server import Bucket
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.clock import utc_now
from phoenix.ids import new_artifact_id, new_job_id, new_task_id
from phoenix.settings import StorageSettings
from phoenix.storage.errors import StoreFailed
from phoenix.storage.keys import OutputName, output_key, upload_key
from phoenix.storage.store import ArtifactStore, open_store

NOW = utc_now()
PUT_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from phoenix.settings import StorageSettings
from phoenix.storage.store import open_store

async def chunks():
    for _ in range(3):
        yield bytes(6_000_000)
    print("under way", flush=True)
    await asyncio.Event().wait()

store = open_store(StorageSettings.model_validate_json(sys.argv[1]), default_folder=Path("unused"))
asyncio.run(store.put_stream(sys.argv[2], chunks(), None))
"""


def opened(settings: StorageSettings) -> ArtifactStore:
    return open_store(settings, default_folder=Path("unused"))


async def abort_all(store: ArtifactStore, prefix: str, before: datetime = NOW) -> list[int]:
    return [count async for count in store.remove_staged(prefix, before)]


async def kill_in_mid_put(bucket: Bucket, key: str) -> None:
    settings = bucket.settings.model_dump_json(exclude={"s3_secret_access_key"})[:-1] + ',"s3_secret_access_key":"x"}'
    command = [sys.executable, "-c", PUT_FOR_EVER, settings, key]
    process = await child_processes.start_async(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"under way\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_what_a_killed_process_began_is_aborted(bucket: Bucket) -> None:
    key = output_key(new_job_id(), new_task_id(), 1, OutputName.CLIP)
    await kill_in_mid_put(bucket, key)
    assert await asyncio.to_thread(bucket.unfinished_uploads) == [f"a/prefix/{key}"]
    assert sum(await abort_all(opened(bucket.settings), "jobs")) == 1
    assert await asyncio.to_thread(bucket.unfinished_uploads) == []


@pytest.mark.parametrize("prefix", ["/a/prefix", ""], ids=["below a prefix", "at the top"])
async def test_only_uploads_of_our_keys_under_the_folder_are_aborted(bucket: Bucket, prefix: str) -> None:
    top = prefix.removeprefix("/") + "/" if prefix else ""
    ours = f"{top}{upload_key(new_artifact_id())}"
    others = [f"elsewhere/{ours}", f"{top}uploads/notes.txt", f"{top}jobs/{ours}", f"x{ours}"]
    for path in (ours, *others):
        bucket.begin_upload(path)
    store = opened(bucket.settings.model_copy(update={"url": f"s3://{bucket.name}{prefix}"}))
    assert sum(await abort_all(store, "uploads")) == 1
    assert sorted(bucket.unfinished_uploads()) == sorted(others)


def listing(*uploads: tuple[str, datetime], onward: str | None = None) -> Answer:
    """As Amazon's servers write it: moto gives no page but the first, and dates everything to 2010."""
    found = "".join(
        f"<Upload><Key>{key}</Key><UploadId>of {key}</UploadId>"
        f"<Initiated>{begun:%Y-%m-%dT%H:%M:%S.000Z}</Initiated></Upload>"
        for key, begun in uploads
    )
    markers = f"<NextKeyMarker>{onward}</NextKeyMarker><NextUploadIdMarker>id</NextUploadIdMarker>" if onward else ""
    truncated = "true" if onward else "false"
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
    <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <IsTruncated>{truncated}</IsTruncated>{markers}{found}</ListMultipartUploadsResult>"""
    return Answer(200, body.encode())


@pytest.fixture
def scripted(scripted_server: ScriptedServer) -> ArtifactStore:
    return opened(
        StorageSettings.model_validate(
            {
                "url": "s3://bucket",
                "s3_endpoint": scripted_server.url,
                "s3_access_key_id": "an-id",
                "s3_secret_access_key": "a-secret",
            }
        )
    )


def aborted(server: ScriptedServer) -> list[str]:
    return [request.path for request in server.received if request.method == "DELETE"]


async def test_one_that_was_begun_lately_goes_on(scripted: ArtifactStore, scripted_server: ScriptedServer) -> None:
    old, young = (upload_key(new_artifact_id()) for _ in range(2))
    day = timedelta(days=1)
    scripted_server.on("GET", "/bucket", listing((young, NOW - day / 2), (old, NOW - 2 * day)))
    scripted_server.otherwise = Answer(204)
    assert await abort_all(scripted, "uploads", NOW - day) == [1]
    assert aborted(scripted_server) == [f"/bucket/{old}"]


async def test_many_are_gone_through_in_pages(scripted: ArtifactStore, scripted_server: ScriptedServer) -> None:
    keys = [upload_key(new_artifact_id()) for _ in range(3)]
    begun = NOW - timedelta(days=1)
    pages = listing((keys[0], begun), (keys[1], begun), onward=keys[1]), listing((keys[2], begun))
    scripted_server.on("GET", "/bucket", *pages)
    scripted_server.otherwise = Answer(204)
    assert await abort_all(scripted, "uploads") == [2, 1]
    assert aborted(scripted_server) == [f"/bucket/{key}" for key in keys]
    asked = [request.query for request in scripted_server.received if request.method == "GET"]
    assert [re.findall("key-marker=([^&]+)", query) for query in asked] == [[], [keys[1].replace("/", "%2F")]]


async def test_one_that_is_gone_already_does_no_harm(scripted: ArtifactStore, scripted_server: ScriptedServer) -> None:
    scripted_server.on("GET", "/bucket", listing((upload_key(new_artifact_id()), NOW - timedelta(days=1))))
    scripted_server.otherwise = Answer(404)
    assert await abort_all(scripted, "uploads") == [1]


@pytest.mark.parametrize("answer", [Answer(403), Answer(501), Answer(200, b"<html>"), Answer(200, b"", breaks=True)])
async def test_a_server_that_does_not_list_its_uploads_is_a_failure(
    scripted: ArtifactStore, scripted_server: ScriptedServer, answer: Answer
) -> None:
    scripted_server.otherwise = answer
    with pytest.raises(StoreFailed) as caught:
        await abort_all(scripted, "uploads")
    assert "Signature" not in caught.value.detail


async def test_without_boto3_a_bucket_is_left_alone(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.begin_upload(f"a/prefix/{upload_key(new_artifact_id())}")
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert await abort_all(opened(bucket.settings), "uploads") == []
    assert len(bucket.unfinished_uploads()) == 1
