"""Since when tasks wait, and what for; on both databases."""

from sqlalchemy import update
from sqlmodel import col

from builders import LEASE_S, claim_next, get_job, make_failure, make_result, submit_reel
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import fail, succeed
from phoenix.jobs.scheduling.dispatch import list_ready, snooze
from phoenix.jobs.scheduling.workers import view_queue
from phoenix.jobs.tables import TaskRow

WAITED_S = 1000


async def let_wait(database: Database, job_id: str) -> None:
    """The tasks of the job became ready `WAITED_S` seconds ago."""
    past = db_now(-WAITED_S)
    async with database.write() as uow:
        await uow.session.execute(
            update(TaskRow).where(col(TaskRow.job_id) == job_id).values(waiting_since=past, eligible_at=past)
        )


async def snooze_first(database: Database) -> tuple[str, int]:
    """A worker that cannot do the oldest task leaves it to others. Returns the dispatch message of the task."""
    async with database.read() as session:
        ready = (await list_ready(session, "gpu", with_dispatched=True))[0]
    async with database.write() as uow:
        await snooze(uow, ready.task_id, ready.dispatch_seq, for_s=10)
    return ready.task_id, ready.dispatch_seq


async def find_oldest_wait_s(database: Database) -> float | None:
    async with database.read() as session:
        return next(depth.oldest_wait_s for depth in (await view_queue(session)).queues if depth.name == "gpu")


async def test_a_task_that_every_worker_snoozes_waits_longer_and_longer(database: Database) -> None:
    await let_wait(database, await submit_reel(database))

    await snooze_first(database)

    assert (await find_oldest_wait_s(database) or 0) >= WAITED_S


async def test_a_clip_that_is_claimed_during_a_snooze_has_waited_from_the_beginning(database: Database) -> None:
    job_id = await submit_reel(database)
    await let_wait(database, job_id)
    message = await snooze_first(database)
    async with database.write() as uow:
        claimed = await claim(uow, *message, worker_id="wrk_1", lease_s=LEASE_S)
        assert claimed is not None
        await succeed(uow, claimed, make_result())

    assert (await get_job(database, job_id)).tasks[0].timings["queue_s"] >= WAITED_S


async def test_a_task_in_a_back_off_waits_from_its_failure_on(database: Database) -> None:
    job_id = await submit_reel(database)
    await let_wait(database, job_id)
    claimed = await claim_next(database)
    async with database.write() as uow:
        rule = RetryRule(max_failures=3, max_crashes=3, first_delay_s=60)
        await fail(uow, claimed, make_failure(retriable=True), rule, jitter=0)

    task = (await get_job(database, job_id)).tasks[0]

    assert (task.eligible_at - task.waiting_since).total_seconds() == 60
    assert 0 <= (await find_oldest_wait_s(database) or 0) < WAITED_S
