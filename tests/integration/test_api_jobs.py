"""Finding, polling, canceling, retrying and deleting jobs over HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from builders import OWNER, claim_next, complete_next, make_failure
from fixtures.api import Api, assert_problem, pointers
from phoenix.clock import utc_now
from phoenix.contract import ClipProgress
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import fail
from phoenix.storage.keys import OutputName

ONCE = RetryRule(max_failures=1, max_crashes=1, first_delay_s=0)
NO_JOB = "job_" + "0" * 26


async def run_to_the_end(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    for _ in job["clips"]:
        await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await api.finish_next("media", OutputName.OUTPUT, b"video")
    return await api.show(job["id"])


async def fail_next(api: Api) -> None:
    claimed = await claim_next(api.services.database)
    async with api.services.database.write() as uow:
        await fail(uow, claimed, make_failure(), ONCE, jitter=0)


async def listed(api: Api, query: str = "") -> list[str]:
    response = await api.http.get(f"/v1/jobs{query}")
    assert response.status_code == 200, response.text
    return [job["id"] for job in response.json()["data"]]


async def test_a_job_is_shown_from_the_queue_to_its_result(api: Api) -> None:
    job = await api.submit("one", "two")

    await complete_next(api.services.database)
    half = await api.show(job["id"])
    await complete_next(api.services.database)
    await complete_next(api.services.database, "media")
    done = await api.show(job["id"])

    assert (half["state"], [clip["state"] for clip in half["clips"]]) == ("running", ["succeeded", "queued"])
    assert 0 < half["progress"] < 1
    assert (done["state"], done["progress"], done["error"]) == ("succeeded", 1, None)
    assert done["output"]["url"] == f"/v1/jobs/{job['id']}/content"
    assert done["timings"]["total_s"] >= 0


async def test_the_newest_progress_is_laid_over_a_running_clip(api: Api) -> None:
    job = await api.submit()
    claimed = await claim_next(api.services.database)
    progress = ClipProgress(
        job_id=job["id"],
        seq=3,
        at=utc_now(),
        clip_index=0,
        attempt=claimed.attempt,
        step=5,
        steps=20,
        progress=0.25,
        job_progress=0.2,
        job_eta_s=3000,
    )
    await api.services.publisher.publish_progress(progress, OWNER)

    shown = await api.show(job["id"])

    assert (shown["clips"][0]["step"], shown["clips"][0]["progress"]) == (5, 0.25)
    assert shown["progress"] == 0.2
    assert 2000 < shown["eta_s"] <= 3000  # less by the time since `at`


async def test_a_job_that_did_not_change_is_not_sent_again(api: Api) -> None:
    url = f"/v1/jobs/{(await api.submit())['id']}"
    first = await api.http.get(url)

    again = await api.http.get(url, headers={"If-None-Match": first.headers["etag"]})
    await claim_next(api.services.database)
    changed = await api.http.get(url, headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["etag"].startswith('"1-')
    assert int(first.headers["retry-after"]) > 0
    assert (again.status_code, again.content) == (304, b"")
    assert (changed.status_code, changed.json()["state"]) == (200, "running")


@pytest.mark.parametrize("job_id", [NO_JOB, "nonsense", "job_%00", "x" * 5000])
async def test_an_unknown_job_is_not_found(api: Api, job_id: str) -> None:
    for method, suffix in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/events"),
        ("GET", "/content"),
        ("GET", "/clips/0/content"),
    ]:
        response = await api.http.request(method, f"/v1/jobs/{job_id}{suffix}")
        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_waiting_job_is_canceled_at_once_and_again_is_harmless(api: Api) -> None:
    url = f"/v1/jobs/{(await api.submit())['id']}"

    first = await api.http.post(f"{url}/cancel")
    again = await api.http.post(f"{url}/cancel")

    assert (first.status_code, first.json()["state"]) == (202, "canceled")
    assert first.headers["location"] == url
    assert (again.status_code, again.json()) == (202, first.json())


async def test_a_running_job_says_that_it_is_being_canceled(api: Api) -> None:
    job = await api.submit()
    await claim_next(api.services.database)

    canceled = (await api.http.post(f"/v1/jobs/{job['id']}/cancel")).json()

    assert (canceled["state"], canceled["cancel_requested"]) == ("running", True)


async def test_a_finished_job_is_not_changed_by_a_cancel(api: Api) -> None:
    done = await run_to_the_end(api, await api.submit())

    response = await api.http.post(f"/v1/jobs/{done['id']}/cancel")

    assert (response.status_code, response.json()) == (202, done)


async def test_a_failed_job_is_tried_again_where_it_failed(api: Api) -> None:
    job = await api.submit("one", "two")
    await complete_next(api.services.database)
    await fail_next(api)
    failed = await api.show(job["id"])

    response = await api.http.post(f"/v1/jobs/{job['id']}/retry")

    assert (failed["state"], failed["error"]["clip_index"]) == ("failed", 1)
    assert response.status_code == 202
    assert [clip["state"] for clip in response.json()["clips"]] == ["succeeded", "queued"]


async def test_a_job_that_did_not_fail_cannot_be_tried_again(api: Api) -> None:
    job = await api.submit()

    assert_problem(await api.http.post(f"/v1/jobs/{job['id']}/retry"), 409, "CONFLICT")


async def test_only_a_finished_job_can_be_deleted(api: Api) -> None:
    job = await api.submit()
    url = f"/v1/jobs/{job['id']}"

    refused = await api.http.delete(url)
    await run_to_the_end(api, job)
    deleted = await api.http.delete(url)

    assert_problem(refused, 409, "CONFLICT")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert_problem(await api.http.get(url), 404, "NOT_FOUND")


async def test_pages_follow_on_each_other_while_jobs_arrive(api: Api) -> None:
    ids = [(await api.submit())["id"] for _ in range(5)]

    first = (await api.http.get("/v1/jobs?limit=2")).json()
    await api.submit()
    second_response = await api.http.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}")
    second = second_response.json()
    link = second_response.links["next"]["url"]
    third = (await api.http.get(str(link))).json()

    found = [job["id"] for page in (first, second, third) for job in page["data"]]
    assert found == list(reversed(ids))
    assert (first["has_more"], third["has_more"], third["next_cursor"]) == (True, False, None)


async def test_jobs_are_filtered(api: Api) -> None:
    balloon = (await api.submit("a RED balloon"))["id"]
    harbour = (await api.submit("a harbour, 100% calm", model="animatic"))["id"]
    await api.http.post(f"/v1/jobs/{harbour}/cancel")
    long_ago = (utc_now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert await listed(api) == [harbour, balloon]
    assert await listed(api, "?state=queued") == [balloon]
    assert await listed(api, "?q=red+Balloon") == [balloon]
    assert await listed(api, "?q=100%25") == [harbour]
    assert await listed(api, "?kind=stitch") == []
    assert await listed(api, "?model=animatic") == [harbour, balloon]
    assert await listed(api, f"?created_before={long_ago}") == []
    assert await listed(api, f"?created_after={long_ago}&state=canceled") == [harbour]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("limit=101", "/query/limit"),
        ("limit=ten", "/query/limit"),
        ("state=done", "/query/state"),
        ("kind=film", "/query/kind"),
        ("created_after=yesterday", "/query/created_after"),
        ("created_after=2026-01-01T00:00:00", "/query/created_after"),
        ("created_before=0001-01-01T00:00:00%2B23:59", "/query/created_before"),
        ("q=%00", "/query/q"),
    ],
)
async def test_a_bad_parameter_is_named(api: Api, query: str, pointer: str) -> None:
    problem = assert_problem(await api.http.get(f"/v1/jobs?{query}"), 422, "INVALID_REQUEST")

    assert pointers(problem) == [pointer]


async def test_a_made_up_cursor_is_refused(api: Api) -> None:
    problem = assert_problem(await api.http.get("/v1/jobs?cursor=nonsense"), 400, "INVALID_REQUEST")

    assert pointers(problem) == ["/query/cursor"]


async def test_every_bad_parameter_is_named_at_once(api: Api) -> None:
    problem = assert_problem(await api.http.get("/v1/jobs?limit=0&state=x"), 422, "INVALID_REQUEST")

    assert set(pointers(problem)) == {"/query/limit", "/query/state"}
