"""Since when tasks wait, and what for; on both databases."""

import pytest
from sqlalchemy import update
from sqlmodel import col

from builders import LEASE_S, OWNER, claim_next, complete_next, get_job, make_failure, make_result, submit_reel
from fixtures.event_examples import clip_progress
from phoenix.contract import WaitingCode
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Stage
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.execution.claim import claim, record_progress, renew_leases
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import fail, succeed
from phoenix.jobs.metrics import read_gauges
from phoenix.jobs.repository import list_waiting
from phoenix.jobs.scheduling.dispatch import list_ready, snooze
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat, view_queue
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.jobs.views import QueuePosition

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


async def start_worker(database: Database, queue: str = "gpu", serves: tuple[str, ...] = ("animatic",)) -> None:
    async with database.write() as uow:
        await record_heartbeat(uow, WorkerReport(f"wrk_{queue}", "a", 1, "cpu", {queue: 1}, serves), lease_s=60)


async def find_position(database: Database, job_id: str) -> QueuePosition:
    return (await QueuePositions(database).find([await get_job(database, job_id)]))[job_id]


async def find_code(database: Database, job_id: str) -> WaitingCode | None:
    reason = (await find_position(database, job_id)).waiting_reason
    return None if reason is None else reason.code


async def test_a_job_whose_clips_are_done_waits_for_a_media_worker(database: Database) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    await complete_next(database)

    position = await find_position(database, job_id)

    assert position.waiting_reason is not None
    assert position.waiting_reason.code is WaitingCode.NO_WORKER_FOR_QUEUE
    assert (position.queue_position, position.eta_s) == (None, None)


async def test_a_job_of_which_a_part_runs_has_no_waiting_reason(database: Database) -> None:
    job_id = await submit_reel(database, "a", "b")
    await claim_next(database)

    assert await find_code(database, job_id) is None


async def test_a_job_waits_for_a_worker_of_its_model_before_and_after_a_snooze(database: Database) -> None:
    await start_worker(database, serves=("another",))
    job_id = await submit_reel(database)
    before = await find_code(database, job_id)
    await snooze_first(database)

    assert (before, await find_code(database, job_id)) == (WaitingCode.NO_WORKER_FOR_MODEL,) * 2
    assert (await find_position(database, job_id)).eta_s is None


async def test_a_job_between_two_attempts_waits_for_the_time_of_the_next(database: Database) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        rule = RetryRule(max_failures=3, max_crashes=3, first_delay_s=60)
        await fail(uow, claimed, make_failure(retriable=True), rule, jitter=0)

    assert await find_code(database, job_id) is WaitingCode.RETRY_AT


async def test_a_retried_job_waits_for_the_queue_of_what_is_left(database: Database) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    await complete_next(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)

    assert await find_code(database, job_id) is WaitingCode.NO_WORKER_FOR_QUEUE


async def test_only_waiting_jobs_are_listed_and_those_asked_for(database: Database) -> None:
    running, waiting = await submit_reel(database), await submit_reel(database)
    await claim_next(database)

    async def find(*also: str) -> list[str]:
        async with database.read() as session:
            jobs = await list_waiting(session, job_ids=[running, waiting], owner_ids=[], limit=9, also=also)
        return [job.row.id for job in jobs]

    assert (await find(), await find(running)) == ([waiting], [running, waiting])


@pytest.mark.parametrize(("stage", "is_listed"), [(Stage.LOAD, True), (Stage.QUEUE, True), (Stage.TEXT, False)])
async def test_a_claimed_clip_that_waits_on_its_worker_is_listed(
    database: Database, stage: Stage, is_listed: bool
) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        stages = {claimed.task_id: stage}
        await renew_leases(uow, worker_id="wrk_1", task_ids=[claimed.task_id], lease_s=LEASE_S, stages=stages)

    async with database.read() as session:
        listed = await list_waiting(session, job_ids=[job_id], owner_ids=[], limit=9)

    assert bool(listed) == is_listed
    assert (await find_code(database, job_id) is not None) == is_listed


async def test_progress_is_recorded_with_the_stage_so_that_a_clip_that_advances_does_not_wait(
    database: Database,
) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        stages = {claimed.task_id: Stage.LOAD}
        await renew_leases(uow, worker_id="wrk_1", task_ids=[claimed.task_id], lease_s=LEASE_S, stages=stages)
    before = await find_code(database, job_id)
    async with database.write() as uow:
        await record_progress(uow, claimed, clip_progress(1), Stage.DENOISE)

    assert (before, await find_code(database, job_id)) == (WaitingCode.LOADING_MODEL, None)


async def test_tasks_that_nobody_serves_are_counted_by_queue_and_model(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database, "a", "b", soundtrack={"url": "https://example.com/a.mp3"})
    await submit_reel(database)
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).values(model="another"))

    async with database.read() as session:
        unserved = (await read_gauges(session)).unserved

    assert unserved == {("gpu", "another"): 3, ("gpu", "none"): 0, ("media", "none"): 1, ("remote", "none"): 0}
