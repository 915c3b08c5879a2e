"""What operators see of a worker that starts, and of one that cannot work."""

from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from fixtures.api import Api
from fixtures.callers import GuardedApi
from fixtures.workplace import OpenHarness, WorkerHarness, harness_settings
from phoenix.access.keys import Scope
from phoenix.contract import Worker
from phoenix.db.engine import database_url, open_engine
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.scheduling.workers import (
    WorkerPhase,
    WorkerReport,
    list_live,
    record_heartbeat,
    view_workers,
)
from phoenix.media.self_test import FfmpegUnusable
from phoenix.settings import MediaSettings, SchedulerSettings, StorageSettings
from phoenix.worker.main import WorkerPlan, serve
from phoenix.worker.shutdown import ShutdownState
from phoenix.worker.supervisor import hand_back

UNFIT = WorkerReport("wrk_1", "host", 1, "auto", {"gpu": 0}, phase=WorkerPhase.UNFIT, fault="there is no device cuda:7")
STARTING = WorkerReport("wrk_1", "host", 1, "auto", {"gpu": 0}, phase=WorkerPhase.STARTING)


async def report(database: Database, *reports: WorkerReport) -> None:
    for each in reports:
        async with database.write() as uow:
            await record_heartbeat(uow, each, lease_s=60)


async def seen(database: Database) -> list[Worker]:
    async with database.read() as session:
        return await view_workers(session)


async def test_a_worker_whose_ffmpeg_fails_its_test_is_shown_as_unfit_with_the_reason(
    sqlite_url: URL, redis_url: str, tmp_path: Path
) -> None:
    settings = harness_settings(tmp_path, sqlite_url, redis_url, media=MediaSettings(ffmpeg="/bin/true"))
    plan = WorkerPlan(("media",), worker_id="wrk_1")
    with pytest.raises(FfmpegUnusable):
        await serve(settings, plan, ShutdownState.from_settings(settings.worker))

    database = Database(open_engine(database_url(settings.database, tmp_path), settings.database))
    (worker,) = await seen(database)
    async with database.read() as session:
        live = await list_live(session)
    await database.close()

    assert (worker.id, worker.state, worker.slots, live) == ("wrk_1", "unfit", 0, [])
    assert (worker.fault or "").startswith("/bin/true cannot encode a clip")


async def test_a_worker_whose_disk_is_full_is_shown_as_unfit_and_keeps_its_slots(open_harness: OpenHarness) -> None:
    harness = await open_harness(storage=StorageSettings(reserve_bytes=2**62))
    async with harness.worker("gpu") as shutdown:
        worker = await until_slots(harness)
        shutdown.request()

    assert (worker.state, worker.slots > 0) == ("unfit", True)
    assert (worker.fault or "").startswith("The disk of the ")


async def until_slots(harness: WorkerHarness) -> Worker:
    """The only worker once it is ready, which the commit of its report shows."""
    async for _ in harness.changes():
        for worker in await seen(harness.services.database):
            if worker.slots:
                return worker
    raise AssertionError


async def test_a_worker_starts_and_is_then_idle_on_the_device_that_it_chose(database: Database) -> None:
    await report(database, STARTING)
    (starting,) = await seen(database)
    await report(database, WorkerReport("wrk_1", "host", 1, "cuda:0", {"gpu": 1}, ("animatic",)))
    (ready,) = await seen(database)

    assert (starting.state, starting.slots, starting.device) == ("starting", 0, "auto")
    assert (ready.state, ready.slots, ready.device, ready.fault) == ("idle", 1, "cuda:0", None)


async def test_an_unfit_worker_stays_visible_when_its_supervisor_cleans_up_and_a_starting_one_does_not(
    database: Database,
) -> None:
    rule = RetryRule.from_settings(SchedulerSettings())
    await report(database, UNFIT)
    await hand_back(database, "wrk_1", rule)
    states = [worker.state for worker in await seen(database)]
    await report(database, STARTING)
    await hand_back(database, "wrk_1", rule)

    assert (states, await seen(database)) == (["unfit"], [])


async def test_the_metrics_count_workers_by_state(api: Api) -> None:
    await report(api.services.database, UNFIT)
    lines = (await api.http.get("/metrics")).text.splitlines()

    assert 'phoenix_worker_states{queue="gpu",state="unfit"} 1.0' in lines
    assert 'phoenix_worker_states{queue="gpu",state="idle"} 0.0' in lines
    assert 'phoenix_workers{queue="gpu"} 0.0' in lines


async def test_only_operators_see_what_is_wrong_with_a_worker(guarded: GuardedApi) -> None:
    await report(guarded.api.services.database, UNFIT)
    reader, operator = await guarded.caller(Scope.READ), await guarded.caller(Scope.OPERATOR)
    faults = [(await each.http.get("/v1/workers")).json()["data"][0]["fault"] for each in (reader, operator)]

    assert faults == [None, "there is no device cuda:7"]


@pytest.mark.parametrize(
    ("reported", "detail"),
    [(STARTING, "A worker of the queue gpu is starting."), (UNFIT, "No worker of the queue gpu")],
)
async def test_a_job_says_that_its_worker_starts_or_is_unfit(api: Api, reported: WorkerReport, detail: str) -> None:
    await report(api.services.database, reported)
    job = await api.show((await api.submit())["id"])

    assert job["waiting_reason"]["code"] == "NO_WORKER_FOR_QUEUE"
    assert job["waiting_reason"]["detail"].startswith(detail)
