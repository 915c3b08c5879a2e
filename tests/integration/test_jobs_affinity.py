"""What a worker reads from the database before it skips a clip; on both databases."""

from sqlalchemy import update
from sqlmodel import col

from builders import claim_next, submit_reel
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Stage
from phoenix.jobs.execution.claim import renew_leases
from phoenix.jobs.scheduling.affinity import skip_for_affinity
from phoenix.jobs.scheduling.dispatch import list_ready, mark_dispatched
from phoenix.jobs.scheduling.fair_queue import ReadyTask
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import JobRow, TaskRow

WAIT_S = 600.0


async def start_worker(database: Database, worker_id: str, *models: str, slots: int = 1) -> None:
    said = WorkerReport(worker_id, "host", 1, "cpu", {"gpu": slots}, serves=("animatic",), models=models)
    async with database.write() as uow:
        await record_heartbeat(uow, said, lease_s=600)


async def dispatch_clip(database: Database, model: str = "animatic") -> ReadyTask:
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(model=model))
        (dispatched,) = await list_ready(uow.session, "gpu")
        await mark_dispatched(uow, [dispatched])
    return dispatched


async def leaves(database: Database, task: ReadyTask, *, held: tuple[str, ...] = ("other",)) -> bool:
    async with database.write() as uow:
        return await skip_for_affinity(
            uow,
            task.task_id,
            task.dispatch_seq,
            worker_id="wrk_me",
            loaded_models=held,
            wait_s=WAIT_S,
        )


async def test_a_clip_is_left_to_an_idle_worker_that_holds_its_model(database: Database) -> None:
    await start_worker(database, "wrk_holder", "animatic")
    task = await dispatch_clip(database)

    assert await leaves(database, task)


async def test_a_clip_is_not_left_to_one_that_is_busy_or_drains(database: Database) -> None:
    await start_worker(database, "wrk_busy", "animatic")
    await start_worker(database, "wrk_drains", "animatic", slots=0)
    await submit_reel(database)
    await claim_next(database, worker_id="wrk_busy")
    task = await dispatch_clip(database)

    assert not await leaves(database, task)


async def test_a_clip_is_left_to_a_worker_that_only_encodes_a_clip_of_its_model(database: Database) -> None:
    await start_worker(database, "wrk_holder", "animatic")
    await submit_reel(database)
    held = await claim_next(database, worker_id="wrk_holder")
    async with database.write() as uow:
        stages = {held.task_id: Stage.ENCODE}
        await renew_leases(uow, worker_id="wrk_holder", task_ids=[held.task_id], lease_s=600, stages=stages)
    task = await dispatch_clip(database)

    assert await leaves(database, task)


async def test_a_worker_takes_the_clip_of_its_own_model_first(database: Database) -> None:
    await start_worker(database, "wrk_busy", "animatic")
    await submit_reel(database)
    await claim_next(database, worker_id="wrk_busy")
    task = await dispatch_clip(database)
    own = await dispatch_clip(database, model="other")

    assert [await leaves(database, task), await leaves(database, own)] == [True, False]


async def test_a_clip_that_was_left_for_long_enough_is_taken(database: Database) -> None:
    await start_worker(database, "wrk_holder", "animatic")
    task = await dispatch_clip(database)
    assert await leaves(database, task)
    long_ago = (
        update(TaskRow).where(col(TaskRow.affinity_skipped_at).is_not(None)).values(affinity_skipped_at=db_now(-WAIT_S))
    )
    async with database.write() as uow:
        await uow.session.execute(long_ago)

    assert not await leaves(database, task)
