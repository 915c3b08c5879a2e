"""Job counters count jobs as they end, and never shrink; on both databases."""

import asyncio

from builders import OWNER, RULE, claim_next, complete_next, make_failure, submit_reel
from phoenix.db.unit_of_work import Database
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.execution.task_completion import fail
from phoenix.jobs.metrics import read_job_counters
from phoenix.jobs.retention import delete_job


async def ended(database: Database) -> dict[tuple[str, str], int]:
    """Only the ways in which some job has ended."""
    async with database.read() as session:
        return {ending: count for ending, count in (await read_job_counters(session)).items() if count}


async def fail_one(database: Database) -> str:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        await fail(uow, claimed, make_failure(), RULE, jitter=0)
    return job_id


async def test_every_state_and_error_code_has_a_counter_of_its_own(database: Database) -> None:
    await submit_reel(database)
    await complete_next(database)
    await complete_next(database, "media")
    await fail_one(database)
    canceled = await submit_reel(database)
    async with database.write() as uow:
        await cancel(uow, canceled, owner_id=OWNER)

    assert await ended(database) == {("succeeded", "none"): 1, ("failed", "ENGINE_FAILED"): 1, ("canceled", "none"): 1}


async def test_a_deleted_job_stays_counted(database: Database) -> None:
    job_id = await fail_one(database)
    async with database.write() as uow:
        await delete_job(uow, job_id, owner_id=OWNER)

    assert await ended(database) == {("failed", "ENGINE_FAILED"): 1}


async def test_a_retried_job_counts_each_time_it_ends(database: Database) -> None:
    job_id = await fail_one(database)
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)
    await complete_next(database)
    await complete_next(database, "media")

    assert await ended(database) == {("failed", "ENGINE_FAILED"): 1, ("succeeded", "none"): 1}


async def test_a_rolled_back_end_is_not_counted(database: Database) -> None:
    job_id = await submit_reel(database)
    try:
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id=OWNER)
            raise KeyError
    except KeyError:
        pass

    assert await ended(database) == {}


async def test_jobs_that_end_at_the_same_time_are_all_counted(database: Database) -> None:
    async def cancel_one(job_id: str) -> None:
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id=OWNER)

    await asyncio.gather(*[cancel_one(await submit_reel(database)) for _ in range(10)])

    assert await ended(database) == {("canceled", "none"): 10}
