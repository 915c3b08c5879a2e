"""A job that is tried again by hand long after its end, when Redis has forgotten what was published of it."""

import asyncio

from builders import claim_next, complete_next, make_failure
from fixtures.event_examples import clip_progress
from fixtures.workplace import OWNER, OpenHarness, WorkerHarness, a_reel, slowed
from phoenix.api.job_views import JobViews
from phoenix.errors import Stage
from phoenix.events.progress_cache import ProgressSnapshot
from phoenix.jobs.cancel_and_retry import retry
from phoenix.jobs.execution.claim import record_progress
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import fail, release
from phoenix.jobs.progress import MEDIA_SHARE

CLIPS = 3
DONE_SHARE = (1 - MEDIA_SHARE) * 2 / CLIPS
TIMEOUT_S = 100


async def tried_again(harness: WorkerHarness) -> str:
    """A job of which two clips are done and the third failed, queued again, with nothing left in Redis."""
    database = harness.services.database
    job_id = await harness.submit(a_reel(clips=CLIPS, steps=8))
    await complete_next(database)
    await complete_next(database)
    last = await claim_next(database)
    async with database.write() as uow:
        await fail(uow, last, make_failure(), RetryRule(1, 1, 0), jitter=0)
    await harness.services.redis.flushall()
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=600)
    return job_id


async def first_progress(harness: WorkerHarness, job_id: str) -> ProgressSnapshot:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            published = (await harness.services.publisher.read_progress([job_id]))[job_id]
            if published.clips:
                return published
            await asyncio.sleep(0.01)


async def test_it_is_shown_with_the_share_of_the_clips_that_are_done(open_harness: OpenHarness) -> None:
    harness = await open_harness(has_dispatcher=False)
    services = harness.services
    job_views = JobViews(services.database, services.publisher, services.queue_positions)
    job = await job_views.fetch(await tried_again(harness), OWNER)
    assert (job.state, round(job.progress, 6)) == ("queued", round(DONE_SHARE, 6))


async def test_what_a_worker_publishes_first_counts_the_clips_that_are_done(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.1))
    job_id = await tried_again(harness)
    async with harness.worker("gpu"):
        published = await first_progress(harness, job_id)
    (progress,) = published.clips.values()
    assert DONE_SHARE <= progress.job_progress < 1
    assert (progress.clip_index, published.job_progress) == (CLIPS - 1, progress.job_progress)


async def test_an_attempt_that_has_lost_its_task_records_nothing(open_harness: OpenHarness) -> None:
    database = (harness := await open_harness(has_dispatcher=False)).services.database
    job_id = await harness.submit(a_reel())
    lost = await claim_next(database)
    async with database.write() as uow:
        await release(uow, lost)

    async with database.write() as uow:
        assert not await record_progress(uow, lost, clip_progress(3, job_progress=0.5), Stage.DENOISE)

    assert (await harness.job(job_id)).tasks[0].progress is None


async def test_what_a_worker_publishes_is_in_the_database_before(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.1))
    job_id = await harness.submit(a_reel(steps=8))
    async with harness.worker("gpu"):
        published = (await first_progress(harness, job_id)).clips[0]
        task = (await harness.job(job_id)).tasks[0]

    assert task.progress is not None
    assert task.progress["step"] >= published.step
