"""What is deleted by itself: jobs, uploads and files past their time; on a folder and on a bucket."""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from sqlalchemy import URL, select, text, update
from sqlmodel import col

from builders import submit_reel
from fixtures.retention import DAY_S, add_old_upload, artifact_ids, content, end_job, job_ids, once, opened
from fixtures.s3_server import Bucket
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.api.background.retention import delete_orphans
from phoenix.db.columns import db_now
from phoenix.ids import new_artifact_id, new_job_id, new_task_id
from phoenix.jobs.scheduling import durations
from phoenix.jobs.tables import DurationStatsRow, JobRow
from phoenix.jobs.webhooks import outbox
from phoenix.jobs.webhooks.tables import WebhookRefusalRow
from phoenix.settings import StorageSettings
from phoenix.storage.keys import OutputName, output_key, upload_key


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest) -> StorageSettings:
    if request.param == "folder":
        return StorageSettings()
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.settings


async def test_a_job_that_ended_long_ago_goes_and_a_newer_one_stays(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url, jobs_days=7) as services:
        await end_job(services, age_s=8 * DAY_S)
        newer = await end_job(services, age_s=6 * DAY_S)
        await once(services)
        assert await job_ids(services) == {newer}


async def test_of_each_key_the_newest_jobs_are_kept(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url, jobs_per_key=2) as services:
        kept = {await end_job(services, age_s=10, owner_id="key_b")}
        for age_s in (50, 40, 30, 20):
            newest = await end_job(services, age_s=age_s)
            kept |= {newest} if age_s <= 30 else set()
        await once(services)
        assert await job_ids(services) == kept


async def test_a_job_under_way_is_kept_whatever_its_age(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url, jobs_days=0.001, jobs_per_key=1) as services:
        job_id = await submit_reel(services.database)
        async with services.database.write() as uow:
            await uow.session.execute(update(JobRow).values(created_at=db_now(-30 * DAY_S)))
        await once(services)
        assert await job_ids(services) == {job_id}


async def test_nothing_is_deleted_that_no_setting_names(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url, uploads_days=0) as services:
        job_id, upload_id = await end_job(services, age_s=1000 * DAY_S), await add_old_upload(services, "key_a")
        await once(services)
        assert await job_ids(services) == {job_id}
        assert upload_id in await artifact_ids(services)


def a_duration(width: int, *, updated_at: datetime) -> DurationStatsRow:
    shape = {"width": width, "height": 64, "num_frames": 8, "steps": 4}
    return DurationStatsRow(model="wan", **shape, total_s_per_weight=1, finish_s_per_weight=0, updated_at=updated_at)


def a_refusal(url: str, *, refused_at: datetime) -> WebhookRefusalRow:
    return WebhookRefusalRow(owner_id="key_a", url=url, refused_at=refused_at)


async def test_what_was_learned_and_refused_long_ago_is_forgotten(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url) as services:
        async with services.database.write() as uow:
            uow.session.add_all(
                [
                    a_duration(64, updated_at=await uow.now() - timedelta(seconds=durations.RETENTION_S + 60)),
                    a_duration(128, updated_at=await uow.now() - timedelta(seconds=durations.RETENTION_S - 60)),
                    a_refusal("old", refused_at=await uow.now() - timedelta(seconds=outbox.RETENTION_S + 60)),
                    a_refusal("young", refused_at=await uow.now() - timedelta(seconds=outbox.RETENTION_S - 60)),
                ]
            )
        await once(services)
        async with services.database.read() as session:
            widths = list(await session.scalars(select(col(DurationStatsRow.width))))
            urls = list(await session.scalars(select(col(WebhookRefusalRow.url))))
    assert (widths, urls) == ([128], ["young"])


EVERYTHING_IS_OLD_S = -60


async def test_old_files_without_a_row_are_deleted_and_those_with_one_stay(
    sqlite_url: URL, tmp_path: Path, storage: StorageSettings
) -> None:
    async with opened(tmp_path, sqlite_url, storage) as services:
        known = upload_key(await add_old_upload(services, "key_a"))
        lost = [output_key(new_job_id(), new_task_id(), 1, OutputName.CLIP), upload_key(new_artifact_id())]
        for key in lost:
            await services.store.put_stream(key, content(), None)
        deleted = [
            count async for count in delete_orphans(services.database, services.store, older_than_s=EVERYTHING_IS_OLD_S)
        ]
        assert sum(deleted) == len(lost)
        assert await services.store.list_prefix("uploads") == [known]
        assert await services.store.list_prefix("jobs") == []


OTHERS_CLOCK = (
    "CREATE SCHEMA others",
    (
        "CREATE FUNCTION others.clock_timestamp() RETURNS timestamptz"
        " LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() - interval '2 hours' $$"
    ),
    "ALTER ROLE CURRENT_USER IN DATABASE {name} SET search_path = others, pg_catalog, public",
)


async def test_a_replica_whose_clock_is_fast_deletes_nothing_that_is_young(postgres_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, postgres_url) as services, services.database.write() as uow:
        for statement in OTHERS_CLOCK:
            await uow.session.execute(text(statement.format(name=postgres_url.database)))
    async with opened(tmp_path, postgres_url) as services:
        key = upload_key(new_artifact_id())
        await services.store.put_stream(key, content(), None)
        stored_at_s = time.time() - 2 * 3600
        os.utime(tmp_path / "artifacts" / key, (stored_at_s, stored_at_s))
        deleted = [count async for count in delete_orphans(services.database, services.store, older_than_s=3600)]
        assert sum(deleted) == 0


async def test_a_young_file_without_a_row_may_still_get_one(
    sqlite_url: URL, tmp_path: Path, storage: StorageSettings
) -> None:
    async with opened(tmp_path, sqlite_url, storage) as services:
        key = upload_key(new_artifact_id())
        await services.store.put_stream(key, content(), None)
        await once(services)
        assert await services.store.list_prefix("uploads") == [key]


async def test_a_foreign_file_is_left_alone(sqlite_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, sqlite_url) as services:
        foreign = tmp_path / "artifacts" / "uploads" / "notes.txt"
        foreign.parent.mkdir(parents=True)
        foreign.write_text("mine")
        async for _ in delete_orphans(services.database, services.store, older_than_s=EVERYTHING_IS_OLD_S):
            pass
        assert foreign.exists()


async def test_what_a_dead_put_staged_is_deleted_once_it_is_old(sqlite_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, sqlite_url) as services:
        folder = tmp_path / "artifacts" / "uploads"
        folder.mkdir(parents=True)
        old, young = (folder / f"{new_artifact_id()}#1" for _ in range(2))
        old.write_bytes(b"half")
        young.write_bytes(b"half")
        two_days_ago = time.time() - 2 * DAY_S
        os.utime(old, (two_days_ago, two_days_ago))
        await once(services)
        assert (old.exists(), young.exists()) == (False, True)


async def test_a_foreign_file_with_a_name_as_of_a_staged_one_is_left_alone(sqlite_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, sqlite_url) as services:
        foreign = tmp_path / "artifacts" / "uploads" / "notes#1"
        foreign.parent.mkdir(parents=True)
        foreign.write_text("mine")
        async for _ in delete_orphans(services.database, services.store, older_than_s=EVERYTHING_IS_OLD_S):
            pass
        assert foreign.exists()


async def test_an_upload_to_a_bucket_that_nobody_completed_is_aborted(
    sqlite_url: URL, tmp_path: Path, bucket: Bucket
) -> None:
    async with opened(tmp_path, sqlite_url, bucket.settings) as services:
        path = f"a/prefix/{output_key(new_job_id(), new_task_id(), 1, OutputName.CLIP)}"
        bucket.begin_upload(path)
        assert bucket.unfinished_uploads() == [path]
        await once(services)
        assert bucket.unfinished_uploads() == []


async def test_files_are_checked_though_a_bucket_does_not_list_unfinished_uploads(
    sqlite_url: URL, tmp_path: Path, bucket: Bucket, scripted_server: ScriptedServer
) -> None:
    nothing = Answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    scripted_server.on("GET", f"/{bucket.name}", Answer(403), nothing, nothing)
    settings = bucket.settings.model_copy(update={"s3_endpoint": scripted_server.url})
    async with opened(tmp_path, sqlite_url, settings) as services:
        await once(services)
    prefixes = [parse_qs(request.query)["prefix"] for request in scripted_server.received]
    assert prefixes == [["a/prefix/jobs/"], ["a/prefix/jobs/"], ["a/prefix/uploads/"]]


async def test_a_large_store_is_gone_through_in_pages(
    sqlite_url: URL, tmp_path: Path, storage: StorageSettings
) -> None:
    async with opened(tmp_path, sqlite_url, storage) as services:
        keys = [upload_key(new_artifact_id()) for _ in range(5)]
        for key in keys:
            await services.store.put_stream(key, content(), None)
        pages = [[listed.key for listed in page] async for page in services.store.pages("uploads", page_size=2)]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert sorted(key for page in pages for key in page) == sorted(keys)
