"""Jobs of other keys: what an operator sees of them, and what an administrator does with them."""

from typing import Any

import pytest

from builders import claim_next, complete_next
from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi, id_of, open_guarded_api
from phoenix.access.keys import Scope
from phoenix.jobs.scheduling.dispatch import mark_dispatched, plan_dispatch
from phoenix.settings import Settings

SECRET = "a secret harbour"


async def submit(owner: Api) -> dict[str, Any]:
    return await owner.submit(SECRET, title=SECRET, tags=[SECRET], metadata={"customer": SECRET})


async def test_an_operator_lists_the_jobs_of_all_keys_and_of_one(
    guarded: GuardedApi, owner: Api, operator: Api, key: str
) -> None:
    job, other = await submit(owner), await (await guarded.caller()).submit()

    everything = (await operator.http.get("/v1/jobs?owner=all")).json()["data"]
    of_one = (await operator.http.get("/v1/jobs", params={"owner": id_of(key)})).json()["data"]

    assert [each["id"] for each in everything] == [other["id"], job["id"]]
    assert [(each["id"], each["owner_id"]) for each in of_one] == [(job["id"], id_of(key))]


async def test_without_owner_every_key_sees_its_own(owner: Api, admin: Api) -> None:
    job = await submit(owner)

    assert (await admin.http.get("/v1/jobs")).json()["data"] == []
    assert_problem(await admin.http.get(f"/v1/jobs/{job['id']}"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/v1/jobs?owner=all", "/v1/jobs/{job}?owner=all", "/v1/jobs/{job}/events?owner=all"])
async def test_a_key_without_the_scope_is_refused(guarded: GuardedApi, owner: Api, path: str) -> None:
    job = await submit(owner)
    other = await guarded.caller()

    assert_problem(await other.http.get(path.format(job=job["id"])), 403, "FORBIDDEN")


async def test_a_key_may_name_itself(owner: Api, key: str) -> None:
    job = await submit(owner)

    shown = (await owner.http.get("/v1/jobs", params={"owner": id_of(key)})).json()["data"]

    assert [(each["id"], each["words_hidden"]) for each in shown] == [(job["id"], False)]


async def test_the_words_of_the_owner_are_hidden_wherever_an_operator_looks(owner: Api, operator: Api) -> None:
    job = await submit(owner)
    await complete_next(owner.services.database)
    await complete_next(owner.services.database, "media")

    listed = await operator.http.get("/v1/jobs?owner=all")
    shown = await operator.http.get(f"/v1/jobs/{job['id']}?owner=all&signed=true")
    followed = await operator.http.get(f"/v1/jobs/{job['id']}/events?owner=all")

    assert [SECRET in answer.text for answer in (listed, shown, followed)] == [False, False, False]
    assert (shown.json()["words_hidden"], shown.json()["clips"][0]["prompt"]) == (True, "(hidden)")
    assert "event: snapshot" in followed.text
    assert "event: job.succeeded" in followed.text


async def test_a_setting_shows_the_words(api_settings: Settings) -> None:
    shown = api_settings.api.model_copy(update={"show_prompts_to_operators": True})
    async with open_guarded_api(api_settings.model_copy(update={"api": shown}), leads=False) as guarded:
        key = await guarded.make_key()
        await submit(guarded.client(key))
        operator = await guarded.caller(Scope.OPERATOR)

        found = (await operator.http.get("/v1/jobs", params={"owner": id_of(key), "q": "harbour"})).json()["data"]

    assert [(each["title"], each["words_hidden"]) for each in found] == [(SECRET, False)]


async def test_hidden_words_cannot_be_searched(operator: Api, key: str) -> None:
    assert_problem(await operator.http.get("/v1/jobs", params={"owner": id_of(key), "q": "sea"}), 403, "FORBIDDEN")
    assert_problem(await operator.http.get("/v1/jobs?owner=all&q=sea"), 422, "INVALID_REQUEST")


async def test_an_operator_changes_nothing_of_others(owner: Api, guarded: GuardedApi) -> None:
    job = await submit(owner)
    operator = await guarded.caller(Scope.OPERATOR, Scope.WRITE)

    for method, path in (("POST", "/cancel"), ("POST", "/retry"), ("PATCH", ""), ("DELETE", "")):
        body = {"priority": "high"} if method == "PATCH" else None
        answer = await operator.http.request(method, f"/v1/jobs/{job['id']}{path}?owner=all", json=body)
        assert_problem(answer, 403, "FORBIDDEN")


async def test_an_administrator_cancels_retries_and_deletes_the_job_of_another_key(owner: Api, admin: Api) -> None:
    job = await submit(owner)
    path = f"/v1/jobs/{job['id']}"

    canceled = await admin.http.post(f"{path}/cancel?owner=all")
    retried = await admin.http.post(f"{path}/retry?owner=all")
    await admin.http.post(f"{path}/cancel?owner=all")
    deleted = await admin.http.delete(f"{path}?owner=all")

    assert [canceled.json()["state"], retried.json()["state"], deleted.status_code] == ["canceled", "queued", 204]
    assert SECRET not in canceled.text + retried.text


async def test_an_administrators_cancel_of_an_ended_job_says_so_and_does_nothing(owner: Api, admin: Api) -> None:
    job = await submit(owner)
    ended = (await owner.http.post(f"/v1/jobs/{job['id']}/cancel")).json()

    assert_problem(await admin.http.post(f"/v1/jobs/{job['id']}/cancel?owner=all"), 409, "JOB_ENDED")
    changed = await admin.http.patch(f"/v1/jobs/{job['id']}?owner=all", json={"priority": "high"})
    assert_problem(changed, 409, "JOB_ENDED")
    assert await owner.show(job["id"]) == ended


async def test_a_retry_by_an_administrator_counts_against_the_limits_of_the_owner(
    guarded: GuardedApi, owner: Api, admin: Api, key: str
) -> None:
    job = await submit(owner)
    await owner.http.post(f"/v1/jobs/{job['id']}/cancel")
    await guarded.revoke(key)

    problem = assert_problem(await admin.http.post(f"/v1/jobs/{job['id']}/retry?owner=all"), 409, "CONFLICT")

    assert problem["detail"] == f"The key {id_of(key)} is revoked: nothing new is made for it."


async def test_an_administrator_changes_how_a_job_waits_and_not_what_it_is_called(owner: Api, admin: Api) -> None:
    job = await submit(owner)
    path = f"/v1/jobs/{job['id']}?owner=all"

    changed = await admin.http.patch(path, json={"priority": "high", "queue_timeout_s": 60})
    renamed = await admin.http.patch(path, json={"title": "mine"})

    assert (changed.status_code, changed.json()["priority"]) == (200, "high")
    assert_problem(renamed, 403, "FORBIDDEN")


async def dispatch(api: Api) -> list[str]:
    """The jobs whose clips get dispatch messages now, in order."""
    async with api.services.database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=2)
    async with api.services.database.write() as uow:
        await mark_dispatched(uow, plan.enqueue)
    return [task.job_id for task in plan.enqueue]


async def test_only_an_administrator_moves_a_job_to_the_front(owner: Api, admin: Api) -> None:
    await owner.register_worker()
    first, second = await submit(owner), await submit(owner)
    path = f"/v1/jobs/{second['id']}"

    refused = await owner.http.patch(path, json={"position": "front"})
    moved = await admin.http.patch(f"{path}?owner=all", json={"position": "front"})

    assert_problem(refused, 403, "FORBIDDEN")
    assert moved.status_code == 200
    assert await dispatch(owner) == [second["id"], first["id"]]
    # Also what has a dispatch message already.
    await admin.http.patch(f"/v1/jobs/{first['id']}?owner=all", json={"position": "front"})
    assert await dispatch(owner) == [first["id"], second["id"]]
    assert [(await owner.show(job["id"]))["queue_position"] for job in (first, second)] == [0, 1]


async def test_an_operator_sees_the_hosts_and_jobs_of_all_workers(owner: Api, operator: Api) -> None:
    await owner.register_worker()
    job = await submit(owner)
    await claim_next(owner.services.database)

    (worker,) = (await operator.http.get("/v1/workers")).json()["data"]

    assert (worker["host"], worker["running"], worker["state"]) == ("host", [job["id"]], "busy")


async def test_an_operator_reads_metrics_and_pauses_and_sets_none(operator: Api) -> None:
    statuses = [(await operator.http.get(path)).status_code for path in ("/metrics", "/v1/pauses", "/v1/audit")]

    assert statuses == [200, 200, 200]
    assert_problem(await operator.http.post("/v1/queues/gpu/pause"), 403, "FORBIDDEN")


async def test_a_job_that_another_key_does_not_have_is_not_found(guarded: GuardedApi, owner: Api, admin: Api) -> None:
    job = await submit(owner)
    wrong = id_of(await guarded.make_key())

    for wanted in (f"/v1/jobs/{job['id']}?owner={wrong}", f"/v1/jobs/job_{'0' * 26}?owner=all"):
        assert_problem(await admin.http.get(wanted), 404, "NOT_FOUND")
