"""Attempts that end early: canceled, handed back, lost to another worker, or cut off from their database."""

import asyncio
import io
from itertools import pairwise

from sqlalchemy import update
from sqlmodel import col

from fixtures.database_lock import locked
from fixtures.log_lines import lines_about
from fixtures.redis_server import RedisServer
from fixtures.workplace import TIMEOUT_S, OpenHarness, WorkerHarness, a_reel, slowed
from phoenix.contract import JobState
from phoenix.db.columns import db_now
from phoenix.jobs.execution.recovery import end_overdue, recover_from_lost_worker
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.lifecycle import AttemptEndState, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.tables import JobRow
from phoenix.settings import SchedulerSettings, WorkerSettings
from phoenix.worker.child_process import ExitStatus

SLOW = slowed(0.05)
LONG = 2000
"""Steps of 100 s in total, so that a render cannot end before the test stops it."""


async def until_stored(harness: WorkerHarness, ending: str) -> None:
    """Until the store has a file with this ending."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if any(harness.settings.data_dir.rglob(f"artifacts/**/*{ending}")):
                return
            await asyncio.sleep(0.02)


async def outcomes(harness: WorkerHarness, job: FullJob) -> list[AttemptEndState | None]:
    return [attempt.outcome for attempt in await harness.attempts(job.tasks[0].id)]


async def take_away(harness: WorkerHarness, job: FullJob) -> None:
    """Makes the first task claimable again, like the lease reaper after the death of a worker."""
    task = job.tasks[0]
    rule = RetryRule.from_settings(harness.settings.scheduler)
    async with harness.services.database.write() as uow:
        assert task.lease_owner is not None
        assert await recover_from_lost_worker(uow, job.row.id, task.id, task.lease_owner, rule)


async def test_a_cancel_reaches_a_running_clip_long_before_the_next_heartbeat(open_harness: OpenHarness) -> None:
    # The next heartbeat, like the end of the clip, comes after `until_ended` has given up.
    rare = SchedulerSettings(lease_s=3 * TIMEOUT_S, heartbeat_s=1.2 * TIMEOUT_S)
    harness = await open_harness(animatic=slowed(0.2), scheduler=rare)
    async with harness.worker():
        job_id = await harness.submit(a_reel(steps=LONG))
        await harness.until_step(job_id)
        await harness.cancel(job_id)
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.CANCELED
    assert await outcomes(harness, job) == [AttemptEndState.CANCELED]


async def test_a_cancel_without_redis_is_read_at_the_next_heartbeat(
    open_harness: OpenHarness, redis_server: RedisServer
) -> None:
    harness = await open_harness(animatic=SLOW)
    async with harness.worker():
        job_id = await harness.submit(a_reel(steps=LONG))
        await harness.until_step(job_id)
        redis_server.kill()
        await harness.cancel(job_id)
        job = await harness.until_ended(job_id)
        redis_server.start()
    assert job.row.state is JobState.CANCELED


async def test_a_run_that_takes_too_long_is_stopped_and_fails(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=SLOW)
    async with harness.worker():
        job_id = await harness.submit(a_reel(steps=LONG))
        await harness.until_step(job_id)
        async with harness.services.database.write() as uow:
            overdue = update(JobRow).where(col(JobRow.id) == job_id).values(run_deadline_at=db_now(-1))
            await uow.session.execute(overdue)
        async with harness.services.database.write() as uow:
            await end_overdue(uow, job_id)
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.FAILED
    error = job.row.error or {}
    assert (error["code"], error["stage"]) == ("RUN_TIMEOUT", "denoise")


async def test_a_clip_whose_lease_was_lost_is_stopped_and_made_again(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.02))
    async with harness.worker():
        job_id = await harness.submit(a_reel(steps=100))
        await harness.until_step(job_id)
        await take_away(harness, await harness.job(job_id))
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED
    assert job.tasks[0].attempt == 2
    assert await outcomes(harness, job) == [AttemptEndState.CRASHED, AttemptEndState.SUCCEEDED]


async def test_a_drain_lets_what_was_begun_finish(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=SLOW, worker=WorkerSettings(drain_grace_s=TIMEOUT_S))
    async with harness.worker("gpu") as shutdown:
        job_id = await harness.submit(a_reel(clips=2, steps=20))
        await harness.until_step(job_id)
        shutdown.request()
    job = await harness.job(job_id)
    assert [task.state for task in job.tasks[:2]] == [TaskState.SUCCEEDED, TaskState.READY]
    assert await outcomes(harness, job) == [AttemptEndState.SUCCEEDED]


async def test_a_drain_hands_unfinished_tasks_back_without_counting_a_failure(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=SLOW, worker=WorkerSettings(drain_grace_s=0.2))
    async with harness.worker() as shutdown:
        job_id = await harness.submit(a_reel(steps=LONG))
        await harness.until_step(job_id)
        shutdown.request()
    job = await harness.job(job_id)
    task = job.tasks[0]
    assert (task.state, task.preemptions, task.crashes, task.failures) == (TaskState.READY, 1, 0, 0)
    assert await outcomes(harness, job) == [AttemptEndState.PREEMPTED]


async def test_a_second_signal_does_not_wait_for_the_grace(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=SLOW, worker=WorkerSettings(drain_grace_s=600))
    async with harness.worker() as shutdown:
        job_id = await harness.submit(a_reel(steps=LONG))
        await harness.until_step(job_id)
        shutdown.request()
        shutdown.request()
    assert (await harness.job(job_id)).tasks[0].preemptions == 1


async def test_an_idle_worker_drains_at_once_while_redis_is_frozen(
    open_harness: OpenHarness, redis_server: RedisServer
) -> None:
    # `worker` gives it half of the grace.
    harness = await open_harness(redis_timeout_s=1, worker=WorkerSettings(drain_grace_s=2 * TIMEOUT_S))
    async with harness.worker() as shutdown:
        redis_server.pause()
        shutdown.request()
    redis_server.resume()


async def test_a_worker_that_has_done_its_share_recycles(open_harness: OpenHarness) -> None:
    harness = await open_harness(worker=WorkerSettings(recycle_after_tasks=2, drain_grace_s=0))
    async with harness.worker("gpu") as shutdown:
        await harness.submit(a_reel(clips=2))
        async with asyncio.timeout(100):
            await shutdown.draining.wait()
    assert shutdown.exit is ExitStatus.RECYCLE
    assert len(await harness.tasks_in(TaskState.SUCCEEDED)) == 2


async def test_a_result_made_while_redis_is_away_is_not_made_again(
    open_harness: OpenHarness, redis_server: RedisServer
) -> None:
    harness = await open_harness(animatic=SLOW)
    async with harness.worker():
        job_id = await harness.submit(a_reel(steps=20))
        await harness.until_step(job_id)
        redis_server.kill()
        await harness.until(job_id, lambda job: job.tasks[0].state is TaskState.SUCCEEDED)
        redis_server.start()
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED
    assert await outcomes(harness, job) == [AttemptEndState.SUCCEEDED]


async def test_a_result_is_held_until_the_database_takes_it(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.02), database_busy_s=0.2)
    async with harness.worker("gpu"):
        job_id = await harness.submit(a_reel(steps=20))
        await harness.until_step(job_id)
        async with locked(harness.settings):
            # The clip is in the store before its end is reported.
            await until_stored(harness, ".mp4")
            # Past its first try to report, and well before its lease is over.
            await asyncio.sleep(1)
        job = await harness.until(job_id, lambda job: job.tasks[0].state is TaskState.SUCCEEDED)
    assert await outcomes(harness, job) == [AttemptEndState.SUCCEEDED]


async def test_a_worker_cut_off_from_its_database_stops_by_itself(
    open_harness: OpenHarness, log_lines: io.StringIO
) -> None:
    short = SchedulerSettings(lease_s=6, heartbeat_s=0.5)
    harness = await open_harness(animatic=SLOW, database_busy_s=0.2, scheduler=short)
    async with harness.worker("gpu"):
        job_id = await harness.submit(a_reel(steps=LONG))
        await harness.until_running(job_id)
        async with locked(harness.settings), asyncio.timeout(TIMEOUT_S):
            while not lines_about(log_lines, "the attempt was stopped"):  # noqa: ASYNC110 - a text
                await asyncio.sleep(0.05)


async def test_two_clips_are_never_on_a_device_with_one_slot(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.02))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel(clips=3, steps=10)))
    assert job.row.state is JobState.SUCCEEDED
    started = sorted(task.started_at for task in job.tasks[:3] if task.started_at)
    assert len(started) == 3
    assert all((later - earlier).total_seconds() >= 0.2 for earlier, later in pairwise(started))
