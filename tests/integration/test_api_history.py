"""The routes of attempts, logs, statistics and usage: who may see what, and what bad parameters get."""

import pytest

from builders import RULE, claim_next, complete_next, make_failure
from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi
from phoenix.access.keys import Scope
from phoenix.api.background.statistics import StatisticsService
from phoenix.jobs.execution.task_completion import AttemptRecord, fail

RECORD = AttemptRecord(
    {"denoise": 2.0}, ({"at": "2026-01-31T12:00:00Z", "level": "info", "message": "m", "fields": {}},)
)


async def fail_next(api: Api) -> None:
    claimed = await claim_next(api.services.database)
    async with api.services.database.write() as uow:
        await fail(uow, claimed, make_failure(), RULE, RECORD, jitter=0)


async def count_all(api: Api) -> None:
    await StatisticsService(api.services.database).step()


async def test_the_attempts_and_the_log_of_a_job_are_shown(api: Api) -> None:
    job = await api.submit("one")
    await fail_next(api)

    (attempt,) = (await api.http.get(f"/v1/jobs/{job['id']}/attempts")).json()["data"]
    log = (await api.http.get(f"/v1/jobs/{job['id']}/logs")).json()

    assert (attempt["state"], attempt["stages"], attempt["worker_id"]) == ("failed", {"denoise": 2.0}, "wrk_1")
    assert {line["source"] for line in log["data"]} == {"event", "worker"}


async def test_a_key_without_admin_sees_neither_workers_nor_their_lines(guarded: GuardedApi) -> None:
    caller = await guarded.caller(Scope.READ, Scope.WRITE)
    job = await caller.submit("one")
    await fail_next(caller)

    (attempt,) = (await caller.http.get(f"/v1/jobs/{job['id']}/attempts")).json()["data"]
    log = (await caller.http.get(f"/v1/jobs/{job['id']}/logs")).json()

    assert attempt["worker_id"] is None
    assert {line["source"] for line in log["data"]} == {"event"}


@pytest.mark.parametrize("path", ["attempts", "logs"])
async def test_the_history_of_another_keys_job_is_not_found(guarded: GuardedApi, path: str) -> None:
    owner, stranger = await guarded.caller(Scope.READ, Scope.WRITE), await guarded.caller(Scope.READ)
    job = await owner.submit("one")

    assert_problem(await stranger.http.get(f"/v1/jobs/{job['id']}/{path}"), 404, "NOT_FOUND")


async def test_an_operator_sees_the_history_of_every_job(guarded: GuardedApi) -> None:
    owner, operator = await guarded.caller(Scope.READ, Scope.WRITE), await guarded.caller(Scope.OPERATOR)
    job = await owner.submit("one")
    await fail_next(owner)

    found = await operator.http.get(f"/v1/jobs/{job['id']}/attempts", params={"owner": "all"})

    assert [attempt["worker_id"] for attempt in found.json()["data"]] == ["wrk_1"]


async def test_statistics_are_for_operators(guarded: GuardedApi) -> None:
    caller, operator = await guarded.caller(Scope.READ, Scope.WRITE), await guarded.caller(Scope.OPERATOR)

    assert_problem(await caller.http.get("/v1/stats"), 403, "FORBIDDEN")
    assert (await operator.http.get("/v1/stats")).status_code == 200


async def test_a_key_sees_its_own_usage_and_an_operator_that_of_all(guarded: GuardedApi) -> None:
    one, other = await guarded.caller(Scope.READ, Scope.WRITE), await guarded.caller(Scope.READ, Scope.WRITE)
    operator = await guarded.caller(Scope.OPERATOR)
    for caller in (one, other):
        await caller.submit("one")
        await complete_next(caller.services.database)
        await complete_next(caller.services.database, "media")
    await count_all(one)

    (own,) = (await one.http.get("/v1/usage")).json()["totals"]
    everybody = (await operator.http.get("/v1/usage", params={"owner": "all"})).json()["totals"]

    assert (own["jobs"], own["clips"]) == (1, 1)
    assert len(everybody) == 2
    assert_problem(await one.http.get("/v1/usage", params={"owner": "all"}), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"step": "week"}, "/query/step"),
        ({"step": "minute", "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}, "/query/step"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/query/from"),
        ({"from": "1970-01-01T00:00:00Z"}, "/query/from"),
        ({"from": "yesterday"}, "/query/from"),
        ({"by": "owner"}, "/query/by"),
    ],
)
async def test_a_bad_window_is_refused_with_its_pointer(api: Api, params: dict[str, str], pointer: str) -> None:
    problem = assert_problem(await api.http.get("/v1/stats", params=params), 422, "INVALID_REQUEST")

    assert problem["errors"][0]["pointer"] == pointer


async def test_the_histograms_of_a_scrape_count_what_has_ended(api: Api) -> None:
    await api.submit("one")
    await fail_next(api)
    await count_all(api)

    text = (await api.http.get("/metrics")).text

    assert 'phoenix_attempts_ended_total{model="animatic",outcome="failed",queue="gpu"} 1.0' in text
    assert 'phoenix_attempt_errors_total{code="ENGINE_FAILED",model="animatic",queue="gpu"} 1.0' in text
    assert 'phoenix_task_wait_seconds_count{model="animatic",queue="gpu"} 1.0' in text


async def test_refused_requests_are_counted_by_code(api: Api) -> None:
    await api.http.get("/v1/jobs/job_nothing")

    assert 'phoenix_refused_requests_total{code="NOT_FOUND",limit="none"} 1.0' in (await api.http.get("/metrics")).text
