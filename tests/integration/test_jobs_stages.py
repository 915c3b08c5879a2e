"""The stages that workers report: what a missed deadline or a lost worker interrupted."""

from sqlalchemy import update
from sqlmodel import col

from builders import LEASE_S, RULE, claim_next, complete_next, get_job, submit_reel
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Stage
from phoenix.jobs.execution.claim import Claim, renew_leases
from phoenix.jobs.execution.recovery import end_overdue, recover_from_lost_worker
from phoenix.jobs.execution.task_completion import stop
from phoenix.jobs.tables import AttemptRow, JobRow


async def report(database: Database, claimed: Claim, stage: Stage) -> None:
    async with database.write() as uow:
        await renew_leases(
            uow,
            worker_id=claimed.worker_id,
            task_ids=[claimed.task_id],
            lease_s=LEASE_S,
            stages={claimed.task_id: stage},
        )


async def miss_deadline(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(run_deadline_at=db_now(-1)))
    async with database.write() as uow:
        await end_overdue(uow, job_id)


async def find_error_stage(database: Database, job_id: str) -> str:
    error = (await get_job(database, job_id)).row.error
    assert error is not None
    return error["stage"]


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


async def test_the_next_attempt_starts_with_its_first_stage(database: Database) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    await report(database, claimed, Stage.UPLOAD)
    async with database.write() as uow:
        await recover_from_lost_worker(uow, job_id, claimed.task_id, "wrk_1", RULE)
    between = (await get_job(database, job_id)).tasks[0].stage
    await claim_next(database)

    assert (between, (await get_job(database, job_id)).tasks[0].stage) == (None, "load")
