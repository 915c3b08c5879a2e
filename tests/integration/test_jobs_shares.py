"""Weights and limits of keys on both databases, by HTTP, and in what waiting jobs say."""

from typing import Any

import pytest

from builders import claim_next, submit_reel
from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi, id_of
from phoenix.access.keys import Scope
from phoenix.contract.steering import KeyShareRequest
from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.dispatch import mark_dispatched, plan_dispatch
from phoenix.jobs.scheduling.shares import remove_share, set_share
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat

A, B = "key_a", "key_b"


async def start_worker(database: Database, slots: int) -> None:
    async with database.write() as uow:
        await record_heartbeat(
            uow, WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": slots}, serves=("animatic",)), lease_s=60
        )


async def share(database: Database, owner_id: str, **values: Any) -> None:
    async with database.write() as uow:
        await set_share(uow, owner_id, KeyShareRequest(**values))


async def planned(database: Database, *, max_per_owner: int = 0) -> list[str]:
    """The jobs whose clips would get dispatch messages now, in order."""
    async with database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=1, max_per_owner=max_per_owner)
    return [task.job_id for task in plan.enqueue]


async def test_what_is_beyond_the_limit_of_a_model_is_skipped(database: Database) -> None:
    await start_worker(database, 3)
    await share(database, A, max_running_clips_per_model=1)
    first, second = [await submit_reel(database, owner_id=A) for _ in range(2)]
    other_model = await submit_reel(database, owner_id=A, model="cogvideox-2b", duration_s=2)
    other_key = await submit_reel(database, owner_id=B)

    before = await planned(database)
    await claim_next(database)
    after = await planned(database)

    assert sorted(before) == sorted([first, other_model, other_key])
    assert sorted(after) == sorted([other_model, other_key])
    assert second not in after


async def test_a_limit_of_a_key_takes_the_place_of_the_limit_of_the_server(database: Database) -> None:
    await start_worker(database, 8)
    jobs = [await submit_reel(database, owner_id=A) for _ in range(4)]
    counts: list[int] = []

    for most in (2, 0, 1):
        await share(database, A, max_running_clips=most)
        counts.append(len(await planned(database, max_per_owner=3)))
    async with database.write() as uow:
        await remove_share(uow, A)

    assert counts == [2, len(jobs), 1]
    assert len(await planned(database, max_per_owner=3)) == 3


async def test_a_key_of_weight_2_gets_two_clips_for_each_clip_of_another(database: Database) -> None:
    await start_worker(database, 6)
    await share(database, B, weight=2)
    for _ in range(6):
        await submit_reel(database, owner_id=A)
        await submit_reel(database, owner_id=B)

    async with database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=1)
    async with database.write() as uow:
        await mark_dispatched(uow, plan.enqueue)

    assert sorted(task.owner_id for task in plan.enqueue) == [A, A, B, B, B, B]


async def test_an_administrator_sets_and_removes_a_share(guarded: GuardedApi) -> None:
    key = id_of(await guarded.make_key())
    admin, caller = await guarded.caller(Scope.ADMIN), await guarded.caller()
    path = f"/v1/keys/{key}/share"

    made = await admin.http.put(path, json={"weight": 2, "max_running_clips": 4})
    listed = (await admin.http.get("/v1/shares")).json()["data"]
    removed = [(await admin.http.delete(path)).status_code for _ in range(2)]

    limits = {"max_running_clips": 4, "max_running_clips_per_model": None}
    assert (made.status_code, made.json()) == (200, {"key_id": key, "weight": 2.0, **limits})
    assert (listed, removed) == ([made.json()], [204, 204])
    assert (await admin.http.get("/v1/shares")).json() == {"data": []}
    assert_problem(await caller.http.put(path, json={}), 403, "FORBIDDEN")
    assert_problem(await admin.http.put("/v1/keys/nothing/share", json={}), 404, "NOT_FOUND")
    assert_problem(await admin.http.put(path, json={"weight": 0}), 422, "INVALID_REQUEST")
    actions = [entry["action"] for entry in (await admin.http.get("/v1/audit")).json()["data"]]
    assert actions == ["key.share", "key.unshare", "key.unshare", "key.share"]


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"max_running_clips": 1}, "This key has 1 clip under way, which is as many as it may."),
        ({"max_running_clips_per_model": 1}, "This key has 1 clip of animatic under way, which is as many as it may."),
    ],
)
async def test_a_job_beyond_a_limit_of_its_key_says_so(api: Api, limits: dict[str, int], text: str) -> None:
    await api.register_worker(slots=4)
    await api.http.put("/v1/keys/anonymous/share", json=limits)
    await api.submit()
    await claim_next(api.services.database)

    job = await api.submit()

    assert job["waiting_reason"] == {"code": "AT_YOUR_LIMIT", "detail": text}
