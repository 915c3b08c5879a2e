"""A store that refuses what a worker has made: tried again, then said plainly, and no row without its bytes."""

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from fixtures.s3_server import Bucket
from fixtures.scripted_server import Answer, ScriptedServer
from fixtures.workplace import OpenWorkplace, Workplace, a_reel
from phoenix.contract.jobs import JobState
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.lifecycle import Outcome
from phoenix.jobs.repository import FullJob
from phoenix.jobs.tables import ArtifactRow


async def outcomes(workplace: Workplace, job: FullJob) -> list[Outcome | None]:
    return [attempt.outcome for attempt in await workplace.attempts(job.tasks[0].id)]


async def assert_given_up(workplace: Workplace, job: FullJob) -> None:
    error = job.row.error or {}
    assert job.row.state is JobState.FAILED
    assert (error["code"], error["stage"], error["retriable"]) == (FailureCode.STORAGE_FAILED, Stage.UPLOAD, True)
    assert await outcomes(workplace, job) == [Outcome.FAILED] * workplace.settings.scheduler.max_failures
    async with workplace.services.database.read() as session:
        assert (await session.scalars(select(col(ArtifactRow.id)))).all() == []


def obstruct(workplace: Workplace) -> Path:
    """Makes every put fail, as on a disk that takes nothing more: a file is where the folder should be."""
    path = workplace.settings.data_dir / "artifacts" / "jobs"
    path.write_text("in the way")
    return path


async def test_a_disk_that_takes_nothing_is_tried_again_and_then_named(open_place: OpenWorkplace) -> None:
    workplace = await open_place()
    obstruct(workplace)
    async with workplace.worker():
        job = await workplace.until_ended(await workplace.submit(a_reel()))
    await assert_given_up(workplace, job)


async def test_a_disk_that_recovers_between_two_attempts_costs_no_job(open_place: OpenWorkplace) -> None:
    workplace = await open_place()
    obstacle = obstruct(workplace)
    async with workplace.worker():
        job_id = await workplace.submit(a_reel())
        await workplace.until(job_id, lambda job: job.tasks[0].failures > 0)
        obstacle.unlink()
        job = await workplace.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED
    assert (await outcomes(workplace, job))[0] is Outcome.FAILED


@pytest.mark.parametrize("status", [500, 503, 507])
async def test_a_bucket_that_refuses_is_tried_again_and_then_named(
    open_place: OpenWorkplace, bucket: Bucket, scripted_server: ScriptedServer, status: int
) -> None:
    scripted_server.otherwise = Answer(status, b"<Error><Code>InsufficientStorage</Code></Error>")
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    workplace = await open_place(storage=bucket.settings.model_copy(update=changes))
    async with workplace.worker():
        job = await workplace.until_ended(await workplace.submit(a_reel()))
    await assert_given_up(workplace, job)


async def test_a_bucket_that_breaks_off_in_mid_upload_is_tried_again(
    open_place: OpenWorkplace, bucket: Bucket, scripted_server: ScriptedServer
) -> None:
    scripted_server.otherwise = Answer(200, b"", breaks=True)
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    workplace = await open_place(storage=bucket.settings.model_copy(update=changes))
    async with workplace.worker():
        job = await workplace.until_ended(await workplace.submit(a_reel()))
    await assert_given_up(workplace, job)
