"""A store that refuses the files of a worker: a retry, then a plain error, and no row without its file."""

import io
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from fixtures.log_lines import lines_about
from fixtures.s3_server import Bucket
from fixtures.scripted_server import Answer, ScriptedServer
from fixtures.workplace import OpenHarness, WorkerHarness, a_reel
from phoenix.contract import JobState
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.lifecycle import AttemptEndState, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.workers import WorkerReport
from phoenix.jobs.tables import ArtifactRow
from phoenix.queues.queue import DispatchMessage, Snooze
from phoenix.settings import StorageSettings
from phoenix.worker.context import open_worker_context
from phoenix.worker.leases import LeaseHeartbeat, LeaseTerms
from phoenix.worker.runner import Attempt, Runner


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


@pytest.mark.parametrize("status", [500, 503])
async def test_a_bucket_that_refuses_is_tried_again_and_then_named(
    open_harness: OpenHarness, bucket: Bucket, scripted_server: ScriptedServer, status: int
) -> None:
    scripted_server.otherwise = Answer(status, b"<Error><Code>InsufficientStorage</Code></Error>")
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    harness = await open_harness(storage=bucket.settings.model_copy(update=changes))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel()))
    await assert_given_up(harness, job)


async def test_a_task_for_which_the_store_has_no_space_waits_and_keeps_its_attempts(
    open_harness: OpenHarness, bucket: Bucket, scripted_server: ScriptedServer
) -> None:
    scripted_server.otherwise = Answer(507, b"<Error><Code>XMinioStorageFull</Code></Error>")
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    harness = await open_harness(storage=bucket.settings.model_copy(update=changes))
    async with harness.worker():
        job_id = await harness.submit(a_reel())
        job = await harness.until(job_id, lambda job: job.tasks[0].error is not None)
    (task, *_) = job.tasks
    assert (task.state, task.failures, job.row.state) == (TaskState.READY, 0, JobState.RUNNING)
    assert (task.error or {})["code"] == FailureCode.STORAGE_FULL
    assert task.eligible_at > task.waiting_since


async def test_a_worker_claims_nothing_while_its_disk_is_below_the_reserve(
    open_harness: OpenHarness, log_lines: io.StringIO
) -> None:
    harness = await open_harness(storage=StorageSettings(reserve_bytes=2**62))
    context = open_worker_context(harness.services, device="cpu", worker_id="wrk_1", most_tasks=1)
    report = WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": 1})
    heartbeat = LeaseHeartbeat(lambda: harness.services.database, "wrk_1", LeaseTerms(60, 1, 60), lambda: report)
    runner = Runner(context, heartbeat, "wrk_1", lambda _outcome: None)
    job = await harness.job(await harness.submit(a_reel()))
    message = DispatchMessage(job.tasks[0].id, job.tasks[0].dispatch_seq)

    assert isinstance(await runner.claim(message), Snooze)
    harness.services.reserve.reserve_bytes = 0
    assert isinstance(await runner.claim(message), Attempt)

    context.close(is_idle=True)
    assert len(lines_about(log_lines, "no task is claimed: the disk is full")) == 1
    assert len(lines_about(log_lines, "tasks are claimed again")) == 1


async def test_a_bucket_that_breaks_off_in_mid_upload_is_tried_again(
    open_harness: OpenHarness, bucket: Bucket, scripted_server: ScriptedServer
) -> None:
    scripted_server.otherwise = Answer(200, b"", breaks=True)
    changes = {"s3_endpoint": scripted_server.url, "max_retries": 0}
    harness = await open_harness(storage=bucket.settings.model_copy(update=changes))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel()))
    await assert_given_up(harness, job)
