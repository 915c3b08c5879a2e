"""A job that is tried again by hand long after its end, when Redis has forgotten what was told of it."""

import asyncio

from builders import claim_next, complete_next, make_failure
from fixtures.workplace import OWNER, OpenWorkplace, Workplace, a_reel, paced
from phoenix.api.submission.job_views import fetch_job
from phoenix.events.progress_cache import Told
from phoenix.jobs.control import retry
from phoenix.jobs.execution.completion import fail
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.progress import MEDIA_SHARE

CLIPS = 3
DONE_SHARE = (1 - MEDIA_SHARE) * 2 / CLIPS
PATIENCE_S = 100


async def tried_again(workplace: Workplace) -> str:
    """A job of which two clips are done and the third failed, queued again, with nothing left in Redis."""
    database = workplace.services.database
    job_id = await workplace.submit(a_reel(clips=CLIPS, steps=8))
    await complete_next(database)
    await complete_next(database)
    last = await claim_next(database)
    async with database.write() as uow:
        await fail(uow, last, make_failure(), RetryRule(1, 1, 0), jitter=0)
    await workplace.services.redis.flushall()
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=600)
    return job_id


async def first_told(workplace: Workplace, job_id: str) -> Told:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            told = (await workplace.services.publisher.read_progress([job_id]))[job_id]
            if told.clips:
                return told
            await asyncio.sleep(0.01)


async def test_it_is_shown_with_the_share_of_the_clips_that_are_done(open_place: OpenWorkplace) -> None:
    workplace = await open_place(has_feeder=False)
    job = await fetch_job(workplace.services, await tried_again(workplace), OWNER)
    assert (job.state, round(job.progress, 6)) == ("queued", round(DONE_SHARE, 6))


async def test_what_a_worker_tells_of_it_first_counts_the_clips_that_are_done(open_place: OpenWorkplace) -> None:
    workplace = await open_place(animatic=paced(0.1))
    job_id = await tried_again(workplace)
    async with workplace.worker("gpu"):
        told = await first_told(workplace, job_id)
    (progress,) = told.clips.values()
    assert DONE_SHARE <= progress.job_progress < 1
    assert (progress.clip_index, told.share) == (CLIPS - 1, progress.job_progress)
