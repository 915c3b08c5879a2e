"""What happens to work whose worker, or whose time, has run out; on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col

from builders import LEASE_S, OWNER, RULE, claim_next, complete_next, event_types, get_job, make_result, submit_reel
from phoenix.contract import JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import FailureCode
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.execution.claim import Claim, renew_leases
from phoenix.jobs.execution.recovery import (
    end_overdue,
    list_expired_leases,
    list_overdue,
    list_running_on,
    recover_expired_lease,
    recover_from_lost_worker,
)
from phoenix.jobs.execution.task_completion import stop, succeed
from phoenix.jobs.lifecycle import LeaseLost, TaskState
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import JobRow, TaskRow


async def let_lease_lapse(database: Database, claim: Claim) -> None:
    async with database.write() as uow:
        await uow.session.execute(
            update(TaskRow).where(col(TaskRow.id) == claim.task_id).values(lease_until=db_now(-1))
        )


async def let_deadline_pass(database: Database, job_id: str, column: str) -> None:
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values({column: db_now(-1)}))


async def hear_of(database: Database, worker_id: str) -> None:
    async with database.write() as uow:
        await record_heartbeat(uow, WorkerReport(worker_id, "host", 1, "cpu", slots={"gpu": 1}), lease_s=60)


async def reap(database: Database) -> int:
    """One pass over the expired leases and the overdue jobs. Returns how many leases were taken back."""
    async with database.read() as session:
        expired, overdue = await list_expired_leases(session), await list_overdue(session)
    taken = 0
    for job_id, task_id in expired:
        async with database.write() as uow:
            taken += await recover_expired_lease(uow, job_id, task_id, RULE)
    for job_id in overdue:
        async with database.write() as uow:
            await end_overdue(uow, job_id)
    return taken


async def renew(database: Database, claim: Claim) -> dict[tuple[str, int], str | None]:
    async with database.write() as uow:
        held = await renew_leases(uow, worker_id=claim.worker_id, task_ids=[claim.task_id], lease_s=LEASE_S)
    return dict(held)


async def test_a_lease_that_is_renewed_is_left_alone(database: Database) -> None:
    await submit_reel(database)
    claim = await claim_next(database)

    held = await renew(database, claim)

    assert held == {(claim.task_id, 1): None}
    assert await reap(database) == 0


async def test_a_clip_of_a_silent_worker_runs_again(database: Database) -> None:
    job_id = await submit_reel(database)
    claim = await claim_next(database)
    await let_lease_lapse(database, claim)

    await reap(database)

    assert (await claim_next(database)).attempt == 2
    assert (await event_types(database, job_id))[-2:] == ["clip.retrying", "clip.started"]


async def test_a_worker_that_wakes_up_late_learns_that_it_lost_its_lease(database: Database) -> None:
    await submit_reel(database)
    frozen = await claim_next(database, worker_id="wrk_frozen")
    await let_lease_lapse(database, frozen)
    await reap(database)
    await claim_next(database, worker_id="wrk_new")

    held = await renew(database, frozen)

    assert held == {}
    with pytest.raises(LeaseLost):
        async with database.write() as uow:
            await succeed(uow, frozen, make_result())


async def test_a_supervisor_hands_back_what_its_dead_child_held(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")
    await complete_next(database)
    claim = await claim_next(database, worker_id="wrk_dead")
    async with database.read() as session:
        held = await list_running_on(session, "wrk_dead")

    for held_job_id, task_id in held:
        async with database.write() as uow:
            await recover_from_lost_worker(uow, held_job_id, task_id, "wrk_dead", RULE)

    tasks = (await get_job(database, job_id)).tasks
    assert [task_id for _, task_id in held] == [claim.task_id]
    assert [task.state for task in tasks[:2]] == [TaskState.SUCCEEDED, TaskState.READY]


async def test_a_task_that_loses_three_workers_is_quarantined(database: Database) -> None:
    job_id = await submit_reel(database)
    for _ in range(3):
        await let_lease_lapse(database, await claim_next(database))
        await reap(database)

    job = await get_job(database, job_id)

    assert job.row.state is JobState.FAILED
    assert job.row.error is not None
    assert job.row.error["code"] == FailureCode.WORKER_LOST


async def test_workers_that_were_only_slow_do_not_count_as_lost(database: Database) -> None:
    job_id = await submit_reel(database)
    for number in range(5):
        slow = await claim_next(database, worker_id=f"wrk_{number}")
        await let_lease_lapse(database, slow)
        await reap(database)
        await hear_of(database, slow.worker_id)

    assert (await claim_next(database)).attempt == 6
    assert (await get_job(database, job_id)).row.state is JobState.RUNNING


async def test_slow_workers_do_not_hide_three_that_were_lost(database: Database) -> None:
    job_id = await submit_reel(database)
    for number in range(4):
        claim = await claim_next(database, worker_id=f"wrk_{number}")
        await let_lease_lapse(database, claim)
        await reap(database)
        if number == 1:
            await hear_of(database, claim.worker_id)

    error = (await get_job(database, job_id)).row.error
    assert error is not None
    assert error["message"].startswith("3 workers were lost")


async def test_a_canceled_job_whose_worker_dies_ends_as_canceled(database: Database) -> None:
    job_id = await submit_reel(database)
    claim = await claim_next(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    await let_lease_lapse(database, claim)

    await reap(database)

    assert (await get_job(database, job_id)).row.state is JobState.CANCELED


async def test_the_heartbeat_makes_a_worker_stop(database: Database) -> None:
    job_id = await submit_reel(database)
    claim = await claim_next(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)

    held = await renew(database, claim)

    assert held == {(claim.task_id, 1): "cancel"}


async def test_a_job_that_waited_too_long_expires(database: Database) -> None:
    job_id = await submit_reel(database)
    await let_deadline_pass(database, job_id, "queue_deadline_at")

    await reap(database)

    job = await get_job(database, job_id)
    assert job.row.state is JobState.EXPIRED
    assert job.row.error is not None
    assert job.row.error["code"] == FailureCode.TIMEOUT
    assert await event_types(database, job_id) == ["job.queued", "job.expired"]


async def test_a_job_that_runs_too_long_fails_when_its_worker_has_stopped(database: Database) -> None:
    job_id = await submit_reel(database)
    claim = await claim_next(database)
    await let_deadline_pass(database, job_id, "run_deadline_at")
    await reap(database)
    held = await renew(database, claim)

    async with database.write() as uow:
        await stop(uow, claim)

    job = await get_job(database, job_id)
    assert held == {(claim.task_id, 1): "deadline"}
    assert job.row.state is JobState.FAILED
    assert job.row.error is not None
    assert job.row.error["code"] == FailureCode.RUN_TIMEOUT


async def test_the_lease_is_counted_on_the_clock_of_the_database(database: Database) -> None:
    await submit_reel(database)
    claim = await claim_next(database)

    async with database.write() as uow:
        task = await uow.session.get_one(TaskRow, claim.task_id)
        now = await uow.now()

    assert task.lease_until is not None
    assert timedelta(0) < task.lease_until - now <= timedelta(seconds=LEASE_S)
