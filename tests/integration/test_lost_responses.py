"""Jobs whose response was lost: each is returned to one later retry; on both databases."""

import asyncio

from sqlalchemy import update

from builders import OWNER, submit_reel
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.submission.idempotency import (
    RECOVERY_WINDOW_S,
    RequestIdentity,
    record_lost_response,
    recover_lost_response,
)
from phoenix.jobs.tables import IdempotencyRow

IDENTITY = RequestIdentity(OWNER, "POST /v1/videos", "fingerprint")


async def lose_responses(database: Database, count: int) -> list[str]:
    job_ids = [await submit_reel(database) for _ in range(count)]
    for job_id in job_ids:
        async with database.write() as uow:
            await record_lost_response(uow, IDENTITY, job_id)
    return job_ids


async def recover(database: Database) -> str | None:
    async with database.write() as uow:
        return await recover_lost_response(uow, IDENTITY)


async def test_the_oldest_job_is_returned_first(database: Database) -> None:
    job_ids = await lose_responses(database, 2)

    assert [await recover(database) for _ in range(3)] == [*job_ids, None]


async def test_of_many_concurrent_retries_each_job_is_returned_to_one(database: Database) -> None:
    job_ids = await lose_responses(database, 3)

    given = await asyncio.gather(*(recover(database) for _ in range(6)))
    # One that was passed over while another held it is still there for the next try.
    given += [await recover(database) for _ in range(3)]

    assert sorted(job_id for job_id in given if job_id) == sorted(job_ids)


async def test_a_job_is_not_returned_after_the_recovery_window(database: Database) -> None:
    await lose_responses(database, 1)
    async with database.write() as uow:
        await uow.session.execute(update(IdempotencyRow).values(created_at=db_now(-RECOVERY_WINDOW_S - 1)))

    assert await recover(database) is None
