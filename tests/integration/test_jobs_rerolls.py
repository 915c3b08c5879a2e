"""Clips that fail a check: reported, and rendered again once if the request asks for it; on both databases."""

import pytest

from builders import FROM_PREVIOUS, claim_next, complete_next, event_types, get_job, make_result, submit_reel
from phoenix.contract import CheckCode, ClipCheck, JobState, ResolvedReel
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.execution.task_completion import succeed
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import content_keys
from phoenix.jobs.views import view_job

BLACK = ClipCheck(code=CheckCode.BLACK, message="Every frame is black.")


async def finish_black(database: Database) -> Claim:
    claimed = await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result(f"{claimed.task_id}/{claimed.attempt}", checks=(BLACK,)))
    return claimed


def seed_of(job: FullJob, index: int = 0) -> int:
    assert isinstance(job.request, ResolvedReel)
    return job.request.renders[index].seed


async def test_a_failed_check_is_reported(database: Database) -> None:
    job_id = await submit_reel(database, "a")

    await finish_black(database)

    job = await get_job(database, job_id)
    (clip,) = view_job(job.row, job.tasks, job.output).clips
    assert (clip.state, clip.checks, clip.rerolled_from) == ("succeeded", [BLACK], None)


async def test_a_clip_is_rendered_again_with_the_next_seed(database: Database) -> None:
    job_id = await submit_reel(database, "a", seed=5, on_failed_check="reroll")

    await finish_black(database)

    again = await claim_next(database)
    assert isinstance(again.request, ResolvedReel)
    assert (again.attempt, again.request.clips[0].seed) == (2, 6)
    assert (await event_types(database, job_id))[-2:] == ["clip.retrying", "clip.started"]


async def test_the_clip_says_which_seeds_it_had(database: Database) -> None:
    job_id = await submit_reel(database, "a", seed=5, on_failed_check="reroll")
    await finish_black(database)
    await complete_next(database)

    job = await get_job(database, job_id)

    (clip,) = view_job(job.row, job.tasks, job.output).clips
    assert (clip.seed, clip.rerolled_from, clip.checks) == (6, 5, [])


async def test_a_clip_is_rendered_again_only_once(database: Database) -> None:
    job_id = await submit_reel(database, "a", on_failed_check="reroll")
    await finish_black(database)

    await finish_black(database)
    await complete_next(database, "media")

    job = await get_job(database, job_id)
    assert (job.row.state, job.tasks[0].checks) == (JobState.SUCCEEDED, [BLACK.model_dump(mode="json")])


async def test_the_last_seed_is_followed_by_the_first(database: Database) -> None:
    job_id = await submit_reel(database, "a", seed=2**32 - 1, on_failed_check="reroll")

    await finish_black(database)

    assert seed_of(await get_job(database, job_id)) == 0


async def test_another_take_has_its_own_next_seed(database: Database) -> None:
    job_id = await submit_reel(database, clips=[{"prompt": "a", "takes": 2}], seed=5, on_failed_check="reroll")
    await complete_next(database)

    await finish_black(database)

    job = await get_job(database, job_id)
    assert (seed_of(job, 0), seed_of(job, 1)) == (5, 506)


async def test_content_keys_follow_the_new_seed(database: Database) -> None:
    clips = [{"prompt": "a"}, FROM_PREVIOUS]
    job_id = await submit_reel(database, clips=clips, seed=5, on_failed_check="reroll")
    before = [task.content_key for task in (await get_job(database, job_id)).tasks[:2]]

    await finish_black(database)

    job = await get_job(database, job_id)
    assert isinstance(job.request, ResolvedReel)
    after = [task.content_key for task in job.tasks[:2]]
    assert after == list(content_keys(job.request, {}).values())
    assert not set(before) & set(after)


@pytest.mark.parametrize("asks", ["report", "reroll"])
async def test_a_clip_without_a_failed_check_is_rendered_once(database: Database, asks: str) -> None:
    job_id = await submit_reel(database, "a", on_failed_check=asks)

    await complete_next(database)

    assert (await get_job(database, job_id)).tasks[0].attempt == 1
