"""Orders to workers on both databases: drain, resume, unload; and what a heartbeat brings back."""

import pytest

from builders import submit_reel
from phoenix.db.unit_of_work import Database
from phoenix.errors import NotFound
from phoenix.jobs.scheduling.dispatch import plan_dispatch
from phoenix.jobs.scheduling.worker_orders import drain_worker, may_claim, resume_worker, unload_model
from phoenix.jobs.scheduling.workers import WorkerOrders, WorkerReport, record_heartbeat, view_workers

WORKER = "wrk_1"


async def beat(database: Database, *models: str, worker_id: str = WORKER) -> WorkerOrders:
    report = WorkerReport(worker_id, "host", 1, "cpu", {"gpu": 1}, ("animatic",), models)
    async with database.write() as uow:
        return await record_heartbeat(uow, report, lease_s=60)


async def drain(database: Database) -> None:
    async with database.write() as uow:
        await drain_worker(uow, WORKER)


async def unload(database: Database, model: str, worker_id: str | None = None) -> list[str]:
    async with database.write() as uow:
        return list(await unload_model(uow, model, worker_id=worker_id))


async def dispatched(database: Database) -> int:
    async with database.read() as session:
        return len((await plan_dispatch(session, "gpu", prefetch_multiplier=2)).enqueue)


async def state(database: Database) -> str:
    async with database.read() as session:
        (worker,) = await view_workers(session)
        return worker.state


async def test_a_drained_worker_claims_nothing_at_once_and_hears_of_it_at_its_next_heartbeat(
    database: Database,
) -> None:
    await beat(database)
    await submit_reel(database)
    await drain(database)

    async with database.read() as session:
        assert not await may_claim(session, WORKER)
    assert (await dispatched(database), await state(database)) == (0, "drained")
    # What the worker reports does not undo the order.
    assert await beat(database) == WorkerOrders(is_draining=True)
    assert (await dispatched(database), await state(database)) == (0, "drained")


async def test_a_resumed_worker_claims_again(database: Database) -> None:
    await beat(database)
    await submit_reel(database)
    await drain(database)

    async with database.write() as uow:
        await resume_worker(uow, WORKER)

    assert await beat(database) == WorkerOrders()
    assert (await dispatched(database), await state(database)) == (1, "idle")


async def test_a_model_is_unloaded_by_the_workers_that_have_it_until_they_report_so(database: Database) -> None:
    await beat(database, "wan", "ltx")
    await beat(database, "ltx", worker_id="wrk_2")

    assert await unload(database, "wan") == [WORKER]
    assert await unload(database, "ltx", "wrk_2") == ["wrk_2"]
    assert await unload(database, "other") == []
    assert await beat(database, "wan", "ltx") == WorkerOrders(unload=("wan",))
    assert await beat(database, "ltx") == WorkerOrders()
    assert await beat(database, "ltx", worker_id="wrk_2") == WorkerOrders(unload=("ltx",))


async def test_a_worker_that_is_not_live_gets_no_orders(database: Database) -> None:
    with pytest.raises(NotFound):
        await drain(database)
    with pytest.raises(NotFound):
        await unload(database, "wan", WORKER)
