"""Pauses by HTTP: who may pause what, what is shown, and what starts again."""

import pytest

from builders import claim_next
from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi
from fixtures.workplace import OWNER, OpenHarness, a_reel, is_done
from phoenix.access.keys import Scope
from phoenix.contract import JobState, PauseKind
from phoenix.jobs.scheduling.pauses import pause, resume

ROUTES = [
    ("GET", "/v1/pauses"),
    ("POST", "/v1/queues/gpu/pause"),
    ("POST", "/v1/queues/gpu/resume"),
    ("POST", "/v1/models/animatic/pause"),
    ("POST", "/v1/models/animatic/resume"),
    ("POST", "/v1/keys/anonymous/pause"),
    ("POST", "/v1/keys/anonymous/resume"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_an_administrator_pauses_and_resumes(guarded: GuardedApi, method: str, path: str) -> None:
    caller = await guarded.caller(Scope.READ, Scope.WRITE)

    assert_problem(await caller.http.request(method, path), 403, "FORBIDDEN")


async def test_a_pause_shows_what_why_since_when_and_by_whom(guarded: GuardedApi) -> None:
    key = await guarded.make_key(Scope.ADMIN)
    admin = guarded.client(key)

    made = (await admin.http.post("/v1/queues/gpu/pause", json={"reason": "new drivers"})).json()
    listed = (await admin.http.get("/v1/pauses")).json()

    assert listed == {"data": [made]}
    assert {**made, "paused_at": None} == {
        "kind": "queue",
        "name": "gpu",
        "reason": "new drivers",
        "paused_at": None,
        "paused_by": key.split("_")[1],
    }


async def test_a_job_that_waits_for_a_pause_says_so(api: Api) -> None:
    await api.register_worker("gpu")
    await api.http.post("/v1/models/animatic/pause", json={"reason": "bad weights"})

    job = await api.submit()

    assert job["waiting_reason"] == {"code": "PAUSED", "detail": "The model animatic is paused: bad weights."}


async def test_the_owner_of_a_paused_key_is_told_the_same(guarded: GuardedApi) -> None:
    key = await guarded.make_key()
    admin, caller = await guarded.caller(Scope.ADMIN), guarded.client(key)
    await admin.http.post(f"/v1/keys/{key.split('_')[1]}/pause", json={"reason": "unpaid"})

    assert (await caller.submit())["waiting_reason"]["detail"] == "Your key is paused: unpaid."


async def test_what_runs_is_not_stopped_by_a_pause(api: Api) -> None:
    await api.register_worker("gpu")
    job = await api.submit()
    await claim_next(api.services.database)
    await api.http.post("/v1/queues/gpu/pause")

    shown = await api.show(job["id"])

    assert (shown["state"], shown["waiting_reason"]) == ("running", None)


@pytest.mark.parametrize("subject", ["queues/gpu", "models/animatic", "keys/anonymous"])
async def test_resuming_ends_the_pause_and_may_be_repeated(api: Api, subject: str) -> None:
    await api.http.post(f"/v1/{subject}/pause")

    statuses = [(await api.http.post(f"/v1/{subject}/resume")).status_code for _ in range(2)]

    assert (statuses, (await api.http.get("/v1/pauses")).json()) == ([204, 204], {"data": []})


@pytest.mark.parametrize("path", ["models/nothing/pause", "keys/nothing/pause"])
async def test_what_is_not_there_cannot_be_paused(api: Api, path: str) -> None:
    assert_problem(await api.http.post(f"/v1/{path}"), 404, "NOT_FOUND")


async def test_a_queue_with_another_name_is_refused_with_the_names(api: Api) -> None:
    problem = assert_problem(await api.http.post("/v1/queues/cpu/pause"), 422, "INVALID_REQUEST")

    assert "'gpu', 'remote' or 'media'" in problem["errors"][0]["detail"]


async def test_metrics_name_what_is_paused(api: Api) -> None:
    await api.http.post("/v1/queues/media/pause")

    assert 'phoenix_paused{kind="queue",name="media"} 1.0' in (await api.http.get("/metrics")).text


async def test_a_worker_renders_for_another_key_while_one_is_paused_and_for_that_one_after_it(
    open_harness: OpenHarness,
) -> None:
    harness = await open_harness()
    async with harness.services.database.write() as uow:
        await pause(uow, PauseKind.KEY, OWNER, reason=None, paused_by="key_admin")
    async with harness.worker():
        held_back = await harness.submit(a_reel())
        other = await harness.submit(a_reel(), owner_id="key_b")
        await harness.until(other, is_done)
        during = await harness.job(held_back)
        async with harness.services.database.write() as uow:
            await resume(uow, PauseKind.KEY, OWNER)
        after = await harness.until(held_back, is_done)

    assert (during.row.state, after.row.state) == (JobState.QUEUED, JobState.SUCCEEDED)
