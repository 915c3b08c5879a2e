"""Changes of a job after its submission: titles, tags, favorites, metadata, and how a queued job waits."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from builders import claim_next
from fixtures.api import Api, assert_problem, pointers
from phoenix.access.keys import ANYBODY
from phoenix.jobs.repository import get_job
from phoenix.jobs.scheduling.dispatch import plan_dispatch


async def change(api: Api, job_id: str, **changes: Any) -> httpx.Response:
    return await api.http.patch(f"/v1/jobs/{job_id}", json=changes)


async def test_what_is_given_changes_and_the_rest_stays(api: Api) -> None:
    job = await api.submit(title="First", tags=["sea"], metadata={"customer": "42"})

    answer = await change(api, job["id"], tags=["Sea", "dawn"], favorite=True)

    changed = {"tags": ["Sea", "dawn"], "favorite": True}
    assert (answer.status_code, answer.json()) == (200, {**job, **changed})
    assert await api.show(job["id"]) == answer.json()


async def test_an_empty_text_removes_the_title_and_an_empty_list_the_tags(api: Api) -> None:
    job = await api.submit(title="First", tags=["sea"])

    changed = (await change(api, job["id"], title="", tags=[], metadata={})).json()

    assert (changed["title"], changed["tags"], changed["metadata"]) == (None, [], {})


async def test_metadata_is_replaced_and_the_webhook_stays(api: Api) -> None:
    webhook = {"url": "https://good.example/", "events": ["job.canceled"]}
    job = await api.submit(metadata={"a": "1", "b": "2"}, webhook=webhook)

    assert (await change(api, job["id"], metadata={"b": "3"})).json()["metadata"] == {"b": "3"}
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    (delivery,) = (await api.http.get("/v1/webhooks/deliveries")).json()["data"]
    assert delivery["url"] == webhook["url"]


async def test_repeated_tags_are_dropped_whatever_their_case(api: Api) -> None:
    assert (await api.submit(tags=["Sea", "dawn", "sea"]))["tags"] == ["Sea", "dawn"]


async def test_a_queued_job_with_a_higher_priority_comes_first(api: Api) -> None:
    first, second = await api.submit("first"), await api.submit("second")

    changed = (await change(api, second["id"], priority="high")).json()

    assert changed["priority"] == "high"
    await api.register_worker()
    async with api.services.database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=2)
    assert [task.job_id for task in plan.enqueue] == [second["id"], first["id"]]


async def test_a_shorter_wait_in_the_queue_counts_from_the_submission(api: Api) -> None:
    job = await api.submit(queue_timeout_s=600)
    async with api.services.database.read() as session:
        before = await get_job(session, job["id"], owner_id=ANYBODY.owner_id)

    await change(api, job["id"], queue_timeout_s=60)

    async with api.services.database.read() as session:
        after = await get_job(session, job["id"], owner_id=ANYBODY.owner_id)
    assert before.queue_deadline_at is not None
    assert before.queue_deadline_at - after.queue_deadline_at == timedelta(seconds=540)


async def test_how_a_running_job_waits_cannot_be_changed(api: Api) -> None:
    job = await api.submit()
    await claim_next(api.services.database)

    refused = await change(api, job["id"], title="New", priority="high", queue_timeout_s=9)

    problem = assert_problem(refused, 409, "CONFLICT")
    assert pointers(problem) == ["/priority", "/queue_timeout_s"]
    assert (await api.show(job["id"]))["title"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"title": "x" * 201}, "/title"),
        ({"title": "\0"}, "/title"),
        ({"tags": [""]}, "/tags/0"),
        ({"tags": ["a", " "]}, "/tags/1"),
        ({"tags": ["x"] * 33}, "/tags"),
        ({"favorite": 1}, "/favorite"),
        ({"metadata": {"": "x"}}, "/metadata"),
        ({"priority": "urgent"}, "/priority"),
        ({"queue_timeout_s": 0}, "/queue_timeout_s"),
        ({"prompt": "x"}, "/prompt"),
    ],
)
async def test_a_change_that_is_no_change_is_named(api: Api, body: dict[str, Any], pointer: str) -> None:
    job = await api.submit()

    problem = assert_problem(await api.http.patch(f"/v1/jobs/{job['id']}", json=body), 422, "INVALID_REQUEST")

    assert pointer in problem["errors"][0]["pointer"]


async def test_a_change_of_an_earlier_state_is_refused(api: Api) -> None:
    job = await api.submit()
    headers = {"If-Match": f'"{job["last_seq"] + 1}"'}

    refused = await api.http.patch(f"/v1/jobs/{job['id']}", json={"title": "x"}, headers=headers)

    assert_problem(refused, 412, "PRECONDITION_FAILED")
    assert (await api.show(job["id"]))["title"] is None


async def test_an_unknown_job_is_not_changed(api: Api) -> None:
    assert_problem(await change(api, "job_" + "0" * 26, title="x"), 404, "NOT_FOUND")
