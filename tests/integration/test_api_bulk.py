"""One action on many jobs: by ids and by filters, with a preview, in portions, and with each failure reported."""

from typing import Any

import pytest

from builders import claim_next
from fixtures.api import Api, assert_problem, pointers
from fixtures.callers import GuardedApi
from phoenix.access.keys import Scope


async def bulk(api: Api, action: str, *, owner: str | None = None, **body: Any) -> dict[str, Any]:
    params = {"owner": owner} if owner else {}
    response = await api.http.post("/v1/jobs/bulk", params=params, json={"action": action, **body})
    assert response.status_code == 202, response.text
    return response.json()


async def states(api: Api, *jobs: dict[str, Any]) -> list[str]:
    return [(await api.show(job["id"]))["state"] for job in jobs]


async def test_a_preview_shows_what_matches_and_changes_nothing(api: Api) -> None:
    jobs = [await api.submit() for _ in range(3)]

    preview = await bulk(api, "cancel", filter={"state": "queued"}, dry_run=True)

    assert (preview["matched"], preview["changed"], preview["total"], preview["failed"]) == (3, 0, 3, [])
    assert [job["id"] for job in preview["jobs"]] == [job["id"] for job in reversed(jobs)]
    assert await states(api, *jobs) == ["queued"] * 3


async def test_a_filter_finds_only_what_the_action_can_change(api: Api) -> None:
    ended, waiting = await api.submit(), await api.submit()
    await api.http.post(f"/v1/jobs/{ended['id']}/cancel")

    canceled = await bulk(api, "cancel", filter={})
    retried = await bulk(api, "retry", filter={"model": "animatic"}, limit=1)

    assert [job["id"] for job in canceled["jobs"]] == [waiting["id"]]
    assert [job["id"] for job in retried["jobs"]] == [waiting["id"]]
    assert await states(api, ended, waiting) == ["canceled", "queued"]


async def test_portions_go_on_with_the_cursor_until_nothing_is_left(api: Api) -> None:
    jobs = [await api.submit() for _ in range(5)]

    first = await bulk(api, "cancel", filter={}, limit=3)
    second = await bulk(api, "cancel", filter={}, limit=3, cursor=first["next_cursor"])

    assert [(part["changed"], part["has_more"]) for part in (first, second)] == [(3, True), (2, False)]
    assert await states(api, *jobs) == ["canceled"] * 5


async def test_a_search_selects_too(api: Api) -> None:
    sea, land = await api.submit("the sea", tags=["blue"]), await api.submit("the land")

    found = await bulk(api, "cancel", filter={"q": "sea", "tags": ["blue"]})

    assert (found["changed"], found["total"]) == (1, None)
    assert await states(api, sea, land) == ["canceled", "queued"]


async def test_each_job_that_cannot_be_changed_is_reported_and_the_others_go_on(api: Api) -> None:
    running, ended = await api.submit(), await api.submit()
    await claim_next(api.services.database)
    await api.http.post(f"/v1/jobs/{ended['id']}/cancel")
    unknown = f"job_{'0' * 26}"

    result = await bulk(api, "delete", ids=[running["id"], unknown, ended["id"], ended["id"]])

    assert [(each["id"], each["code"]) for each in result["failed"]] == [
        (running["id"], "CONFLICT"),
        (unknown, "NOT_FOUND"),
    ]
    assert [job["id"] for job in result["jobs"]] == [ended["id"]]
    assert (await api.http.get(f"/v1/jobs/{ended['id']}")).status_code == 404


async def test_a_preview_of_ids_says_which_cannot_be_changed(api: Api) -> None:
    job = await api.submit()

    preview = await bulk(api, "retry", ids=[job["id"]], dry_run=True)

    assert [each["code"] for each in preview["failed"]] == ["CONFLICT"]


async def test_an_administrator_acts_on_all_keys_and_each_job_is_audited(guarded: GuardedApi) -> None:
    owners = [await guarded.caller() for _ in range(2)]
    jobs = [await owner.submit() for owner in owners]
    admin = await guarded.caller(Scope.ADMIN)

    own = await bulk(admin, "cancel", filter={})
    all_keys = await bulk(admin, "cancel", owner="all", filter={})
    repeated = await bulk(admin, "cancel", owner="all", ids=[job["id"] for job in jobs])

    assert (own["changed"], all_keys["changed"]) == (0, 2)
    assert [each["code"] for each in repeated["failed"]] == ["JOB_ENDED"] * 2
    audit = (await admin.http.get("/v1/audit")).json()["data"]
    assert [entry["outcome"] for entry in audit] == ["JOB_ENDED"] * 2 + ["done"] * 2


async def test_another_keys_jobs_are_not_found(guarded: GuardedApi) -> None:
    owner, other = await guarded.caller(), await guarded.caller()
    job = await owner.submit()

    result = await bulk(other, "cancel", ids=[job["id"]])

    assert [each["code"] for each in result["failed"]] == ["NOT_FOUND"]
    answer = await other.http.post("/v1/jobs/bulk?owner=all", json={"action": "cancel", "filter": {}})
    assert_problem(answer, 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "cancel"}, ""),
        ({"action": "cancel", "ids": [f"job_{'0' * 26}"], "filter": {}}, ""),
        ({"action": "purge", "filter": {}}, "/action"),
        ({"action": "cancel", "filter": {"stat": "queued"}}, "/filter/stat"),
        ({"action": "cancel", "filter": {"created_after": 5}}, "/filter/created_after"),
        ({"action": "cancel", "filter": {}, "limit": 501}, "/limit"),
    ],
)
async def test_a_wrong_body_is_refused_with_the_place(api: Api, body: dict[str, Any], pointer: str) -> None:
    problem = assert_problem(await api.http.post("/v1/jobs/bulk", json=body), 422, "INVALID_REQUEST")

    assert pointers(problem) == [pointer]
