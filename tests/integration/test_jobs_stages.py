"""The stages that workers report: who occupies a slot, and what a missed deadline or a lost worker interrupted."""

import pytest
from sqlalchemy import update
from sqlmodel import col

from builders import LEASE_S, RULE, claim_next, complete_next, get_job, submit_reel
from phoenix.contract import QueueDepth, Worker
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Stage
from phoenix.jobs.execution.claim import Claim, renew_leases
from phoenix.jobs.execution.recovery import end_overdue, recover_from_lost_worker
from phoenix.jobs.execution.task_completion import stop
from phoenix.jobs.scheduling.queue_snapshots import read_queue_snapshot
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat, view_queue, view_workers
from phoenix.jobs.tables import AttemptRow, JobRow


async def start_worker(database: Database) -> None:
    async with database.write() as uow:
        await record_heartbeat(uow, WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": 1, "media": 1}), lease_s=60)


async def report(database: Database, claimed: Claim, stage: Stage) -> None:
    async with database.write() as uow:
        await renew_leases(
            uow,
            worker_id=claimed.worker_id,
            task_ids=[claimed.task_id],
            lease_s=LEASE_S,
            stages={claimed.task_id: stage},
        )


async def view_depth(database: Database, queue: str) -> QueueDepth:
    async with database.read() as session:
        return next(depth for depth in (await view_queue(session)).queues if depth.name == queue)


async def view_worker(database: Database) -> Worker:
    async with database.read() as session:
        return (await view_workers(session))[0]


async def miss_deadline(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(run_deadline_at=db_now(-1)))
    async with database.write() as uow:
        await end_overdue(uow, job_id)


async def find_error_stage(database: Database, job_id: str) -> str:
    error = (await get_job(database, job_id)).row.error
    assert error is not None
    return error["stage"]


@pytest.mark.parametrize(
    ("stage", "running", "finishing"),
    [(Stage.DENOISE, 1, 0), (Stage.DECODE, 1, 0), (Stage.ENCODE, 0, 1), (Stage.UPLOAD, 0, 1)],
)
async def test_a_clip_occupies_a_slot_until_it_is_encoded(
    database: Database, stage: Stage, running: int, finishing: int
) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    await report(database, await claim_next(database), stage)

    depth, worker = await view_depth(database, "gpu"), await view_worker(database)
    async with database.read() as session:
        snapshot = await read_queue_snapshot(session, "gpu", with_in_flight=False)

    assert (depth.running, depth.finishing) == (running, finishing)
    assert (worker.running, worker.finishing) == ([job_id] * running, [job_id] * finishing)
    assert snapshot.free_slots == finishing


async def test_an_assembly_occupies_its_slot_to_the_end(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database)
    await complete_next(database)
    await report(database, await claim_next(database, "media"), Stage.UPLOAD)

    depth = await view_depth(database, "media")

    assert (depth.running, depth.finishing) == (1, 0)


async def test_a_missed_deadline_names_the_stage_that_the_worker_reported_last(database: Database) -> None:
    job_id = await submit_reel(database)
    await report(database, await claim_next(database), Stage.DENOISE)

    await miss_deadline(database, job_id)

    assert await find_error_stage(database, job_id) == "denoise"


async def test_a_missed_deadline_during_the_assembly_names_it(database: Database) -> None:
    job_id = await submit_reel(database)
    await complete_next(database)
    await claim_next(database, "media")

    await miss_deadline(database, job_id)

    assert await find_error_stage(database, job_id) == "assemble"


async def test_a_deadline_that_passes_while_nothing_runs_names_the_queue(database: Database) -> None:
    job_id = await submit_reel(database)
    await complete_next(database)

    await miss_deadline(database, job_id)

    assert await find_error_stage(database, job_id) == "queue"


async def test_the_stage_in_which_the_worker_stopped_is_newer_than_its_report(database: Database) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    await miss_deadline(database, job_id)
    before = await find_error_stage(database, job_id)

    async with database.write() as uow:
        await stop(uow, claimed, Stage.DECODE)

    assert (before, await find_error_stage(database, job_id)) == ("load", "decode")


async def test_a_lost_worker_leaves_the_stage_that_it_reported_last(database: Database) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    await report(database, claimed, Stage.DENOISE)
    async with database.write() as uow:
        assert await recover_from_lost_worker(uow, job_id, claimed.task_id, "wrk_1", RULE)

    async with database.read() as session:
        attempt = await session.get_one(AttemptRow, (claimed.task_id, 1))

    assert attempt.error is not None
    assert attempt.error["stage"] == "denoise"


async def test_the_next_attempt_has_no_stage_before_its_worker_reports_one(database: Database) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    await report(database, claimed, Stage.UPLOAD)
    async with database.write() as uow:
        await recover_from_lost_worker(uow, job_id, claimed.task_id, "wrk_1", RULE)
    between = (await get_job(database, job_id)).tasks[0].stage
    await claim_next(database)

    assert (between, (await get_job(database, job_id)).tasks[0].stage) == (None, None)
