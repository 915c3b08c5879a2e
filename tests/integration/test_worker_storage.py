"""A store that refuses the files of a worker: a retry, then a plain error, and no row without its file."""

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from fixtures.s3_server import Bucket
from fixtures.scripted_server import Answer, ScriptedServer
from fixtures.workplace import OpenHarness, WorkerHarness, a_reel
from phoenix.contract import JobState
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.lifecycle import AttemptEndState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.tables import ArtifactRow


async def outcomes(harness: WorkerHarness, job: FullJob) -> list[AttemptEndState | None]:
    return [attempt.outcome for attempt in await harness.attempts(job.tasks[0].id)]


async def assert_given_up(harness: WorkerHarness, job: FullJob) -> None:
    error = job.row.error or {}
    assert job.row.state is JobState.FAILED
    assert (error["code"], error["stage"], error["retriable"]) == (FailureCode.STORAGE_FAILED, Stage.UPLOAD, True)
    assert await outcomes(harness, job) == [AttemptEndState.FAILED] * harness.settings.scheduler.max_failures
    async with harness.services.database.read() as session:
        assert (await session.scalars(select(col(ArtifactRow.id)))).all() == []


def obstruct(harness: WorkerHarness) -> Path:
    """Makes every put fail, as on a disk that takes nothing more: a file is where the folder should be."""
    path = harness.settings.data_dir / "artifacts" / "jobs"
    path.write_text("in the way")
    return path


async def test_a_disk_that_takes_nothing_is_tried_again_and_then_named(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    obstruct(harness)
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel()))
    await assert_given_up(harness, job)


async def test_a_disk_that_recovers_between_two_attempts_costs_no_job(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    obstacle = obstruct(harness)
    async with harness.worker():
        job_id = await harness.submit(a_reel())
        await harness.until(job_id, lambda job: job.tasks[0].failures > 0)
        obstacle.unlink()
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED
    assert (await outcomes(harness, job))[0] is AttemptEndState.FAILED


@pytest.mark.parametrize("status", [500, 503, 507])
async def test_a_bucket_that_refuses_is_tried_again_and_then_named(
    open_harness: OpenHarness, bucket: Bucket, scripted_server: ScriptedServer, status: int
) -> None:
    scripted_server.otherwise = Answer(status, b"<Error><Code>InsufficientStorage</Code></Error>")
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    harness = await open_harness(storage=bucket.settings.model_copy(update=changes))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel()))
    await assert_given_up(harness, job)


async def test_a_bucket_that_breaks_off_in_mid_upload_is_tried_again(
    open_harness: OpenHarness, bucket: Bucket, scripted_server: ScriptedServer
) -> None:
    scripted_server.otherwise = Answer(200, b"", breaks=True)
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    harness = await open_harness(storage=bucket.settings.model_copy(update=changes))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel()))
    await assert_given_up(harness, job)
