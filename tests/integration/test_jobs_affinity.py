"""What a worker learns from the database before it leaves a clip to others; on both databases."""

from sqlalchemy import update
from sqlmodel import col

from builders import claim_next, submit_reel
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.affinity import leave_to_others
from phoenix.jobs.scheduling.dispatch import list_waiting, mark_rung
from phoenix.jobs.scheduling.fair_queue import Waiting
from phoenix.jobs.scheduling.workers import WorkerReport, report
from phoenix.jobs.tables import JobRow, TaskRow

WAIT_S = 10.0


async def start_worker(database: Database, worker_id: str, *models: str, slots: int = 1) -> None:
    said = WorkerReport(worker_id, "host", 1, "cpu", {"gpu": slots}, serves=("animatic",), models=models)
    async with database.write() as uow:
        await report(uow, said)


async def ring_clip(database: Database, model: str = "animatic") -> Waiting:
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(model=model))
        (rung,) = await list_waiting(uow.session, "gpu")
        await mark_rung(uow, [rung])
    return rung


async def leaves(database: Database, task: Waiting, *, held: tuple[str, ...] = ("other",)) -> bool:
    async with database.write() as uow:
        return await leave_to_others(
            uow, task.task_id, task.dispatch, worker_id="wrk_me", held=held, wait_s=WAIT_S, worker_timeout_s=15
        )


async def test_a_clip_is_left_to_an_idle_worker_that_holds_its_model(database: Database) -> None:
    await start_worker(database, "wrk_holder", "animatic")
    task = await ring_clip(database)

    assert await leaves(database, task)


async def test_a_clip_is_not_left_to_one_that_is_busy_or_drains(database: Database) -> None:
    await start_worker(database, "wrk_busy", "animatic")
    await start_worker(database, "wrk_drains", "animatic", slots=0)
    await submit_reel(database)
    await claim_next(database, worker_id="wrk_busy")
    task = await ring_clip(database)

    assert not await leaves(database, task)


async def test_a_worker_takes_the_clip_of_its_own_model_first(database: Database) -> None:
    await start_worker(database, "wrk_busy", "animatic")
    await submit_reel(database)
    await claim_next(database, worker_id="wrk_busy")
    task = await ring_clip(database)
    own = await ring_clip(database, model="other")

    assert [await leaves(database, task), await leaves(database, own)] == [True, False]


async def test_a_clip_that_was_left_for_long_enough_is_taken(database: Database) -> None:
    await start_worker(database, "wrk_holder", "animatic")
    task = await ring_clip(database)
    assert await leaves(database, task)
    long_ago = update(TaskRow).where(col(TaskRow.passed_at).is_not(None)).values(passed_at=db_now(-WAIT_S))
    async with database.write() as uow:
        await uow.session.execute(long_ago)

    assert not await leaves(database, task)
