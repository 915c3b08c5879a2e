"""Drain, resume and unload by HTTP, and a real worker that is drained while it renders."""

import pytest

from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi
from fixtures.workplace import OpenHarness, a_reel, is_done, slowed
from phoenix.access.keys import Scope
from phoenix.contract import JobState
from phoenix.jobs.scheduling.worker_orders import drain_worker, resume_worker
from phoenix.jobs.scheduling.workers import view_workers

ROUTES = ["/v1/workers/wrk_1/drain", "/v1/workers/wrk_1/resume", "/v1/models/animatic/unload"]


@pytest.mark.parametrize("path", ROUTES)
async def test_only_an_administrator_gives_orders(guarded: GuardedApi, path: str) -> None:
    caller = await guarded.caller(Scope.OPERATOR, Scope.WRITE)

    assert_problem(await caller.http.post(path), 403, "FORBIDDEN")


async def test_a_drained_worker_shows_its_state_until_it_is_resumed(api: Api) -> None:
    await api.register_worker()

    statuses = [(await api.http.post("/v1/workers/wrk_1/drain")).status_code for _ in range(2)]
    (drained,) = (await api.http.get("/v1/workers")).json()["data"]
    statuses += [(await api.http.post("/v1/workers/wrk_1/resume")).status_code for _ in range(2)]
    await api.register_worker()
    (resumed,) = (await api.http.get("/v1/workers")).json()["data"]

    assert statuses == [204] * 4
    assert [(each["state"], each["slots"]) for each in (drained, resumed)] == [("drained", 0), ("idle", 2)]
    audited = [entry["action"] for entry in (await api.http.get("/v1/audit")).json()["data"]]
    assert audited == ["worker.resume", "worker.resume", "worker.drain", "worker.drain"]


async def test_what_is_not_there_gets_no_orders(api: Api) -> None:
    assert_problem(await api.http.post("/v1/workers/wrk_9/drain"), 404, "NOT_FOUND")
    assert_problem(await api.http.post("/v1/models/nothing/unload"), 404, "NOT_FOUND")


async def test_a_model_without_weights_cannot_be_unloaded(api: Api) -> None:
    assert_problem(await api.http.post("/v1/models/animatic/unload"), 409, "CONFLICT")


async def test_a_model_that_no_worker_has_is_unloaded_by_none(api: Api) -> None:
    await api.register_worker()
    model = next(
        model["id"] for model in (await api.http.get("/v1/models")).json()["data"] if model["engine"] == "diffusers"
    )

    answer = await api.http.post(f"/v1/models/{model}/unload", json={})

    assert (answer.status_code, answer.json()) == (202, {"model": model, "workers": []})


async def test_a_drained_worker_finishes_what_it_renders_and_starts_nothing_until_it_is_resumed(
    open_harness: OpenHarness,
) -> None:
    harness = await open_harness(animatic=slowed(0.05))
    async with harness.worker():
        running = await harness.submit(a_reel(clips=1, steps=30))
        await harness.until_step(running)
        async with harness.services.database.read() as session:
            (worker,) = await view_workers(session)
        async with harness.services.database.write() as uow:
            await drain_worker(uow, worker.id)
        waiting = await harness.submit(a_reel())
        # The clip is rendered. Its assembly waits, like the other job.
        await harness.until(running, lambda job: job.tasks[0].artifact_id is not None)
        during = await harness.job(waiting)
        async with harness.services.database.write() as uow:
            await resume_worker(uow, worker.id)
        ended = [await harness.until(job_id, is_done) for job_id in (running, waiting)]

    assert during.row.state is JobState.QUEUED
    assert [job.row.state for job in ended] == [JobState.SUCCEEDED] * 2
