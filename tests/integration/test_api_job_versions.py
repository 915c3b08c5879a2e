"""`If-Match`: a job is changed only as the client saw it, and a file is sent only if it is the one meant."""

from typing import Any

import pytest

from builders import claim_next, make_failure
from fixtures.api import Api, assert_problem
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import fail
from phoenix.storage.keys import OutputName

ONCE = RetryRule(max_failures=1, max_crashes=1, first_delay_s=0)


async def tag_of(api: Api, job: dict[str, Any]) -> str:
    return (await api.http.get(f"/v1/jobs/{job['id']}")).headers["etag"]


def if_match(tag: str) -> dict[str, str]:
    return {"If-Match": tag}


async def test_head_of_a_job_has_the_headers_of_get_and_no_body(api: Api) -> None:
    url = f"/v1/jobs/{(await api.submit())['id']}"
    got = await api.http.get(url)

    headed = await api.http.head(url)
    known = await api.http.head(url, headers={"If-None-Match": got.headers["etag"]})

    assert (headed.status_code, headed.content) == (200, b"")
    assert {name: value for name, value in headed.headers.items() if name != "x-request-id"} == {
        name: value for name, value in got.headers.items() if name != "x-request-id"
    }
    assert (known.status_code, known.headers["etag"]) == (304, got.headers["etag"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_job_is_shown_only_in_the_version_that_is_asked_for(api: Api, method: str) -> None:
    job = await api.submit()
    url, tag = f"/v1/jobs/{job['id']}", await tag_of(api, job)

    same = await api.http.request(method, url, headers=if_match(f'"other", {tag}'))
    other = await api.http.request(method, url, headers=if_match('"other"'))

    assert (same.status_code, other.status_code) == (200, 412)


async def test_a_job_that_has_moved_on_is_not_canceled(api: Api) -> None:
    job = await api.submit()
    seen = await tag_of(api, job)
    await claim_next(api.services.database)

    response = await api.http.post(f"/v1/jobs/{job['id']}/cancel", headers=if_match(seen))

    assert_problem(response, 412, "PRECONDITION_FAILED")
    shown = await api.show(job["id"])
    assert (shown["state"], shown["cancel_requested"]) == ("running", False)


@pytest.mark.parametrize("tag", ["{seen}", '"1"', "*", '"0-000000000000", {seen}'])
async def test_a_job_is_canceled_in_the_state_that_the_client_saw(api: Api, tag: str) -> None:
    job = await api.submit()
    seen = await tag_of(api, job)
    await api.submit("another, which changes what is shown of queues")

    response = await api.http.post(f"/v1/jobs/{job['id']}/cancel", headers=if_match(tag.format(seen=seen)))

    assert (response.status_code, response.json()["state"]) == (202, "canceled")


@pytest.mark.parametrize("tag", ["W/{seen}", "1", '""', '"1-"', "nonsense"])
async def test_what_is_no_strong_tag_of_the_job_matches_nothing(api: Api, tag: str) -> None:
    job = await api.submit()
    seen = await tag_of(api, job)

    response = await api.http.post(f"/v1/jobs/{job['id']}/cancel", headers=if_match(tag.format(seen=seen)))

    assert_problem(response, 412, "PRECONDITION_FAILED")
    assert (await api.show(job["id"]))["state"] == "queued"


async def test_of_two_retries_of_one_failure_the_second_is_refused(api: Api) -> None:
    job = await api.submit()
    claimed = await claim_next(api.services.database)
    async with api.services.database.write() as uow:
        await fail(uow, claimed, make_failure(), ONCE, jitter=0)
    failed = await tag_of(api, job)

    first = await api.http.post(f"/v1/jobs/{job['id']}/retry", headers=if_match(failed))
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    second = await api.http.post(f"/v1/jobs/{job['id']}/retry", headers=if_match(failed))

    assert first.status_code == 202
    assert_problem(second, 412, "PRECONDITION_FAILED")
    assert (await api.show(job["id"]))["state"] == "canceled"


async def test_a_job_is_deleted_only_as_the_client_saw_it(api: Api) -> None:
    job = await api.submit()
    early = await tag_of(api, job)
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    late = await tag_of(api, job)

    refused = await api.http.delete(f"/v1/jobs/{job['id']}", headers=if_match(early))
    deleted = await api.http.delete(f"/v1/jobs/{job['id']}", headers=if_match(late))

    assert_problem(refused, 412, "PRECONDITION_FAILED")
    assert deleted.status_code == 204


async def test_what_cannot_be_done_at_all_is_reported_before_the_condition(api: Api) -> None:
    job = await api.submit()

    running = await api.http.delete(f"/v1/jobs/{job['id']}", headers=if_match('"old"'))
    unknown = await api.http.delete("/v1/jobs/job_" + "0" * 26, headers=if_match('"old"'))

    assert_problem(running, 409, "CONFLICT")
    assert_problem(unknown, 404, "NOT_FOUND")


async def test_a_file_is_sent_only_if_it_is_the_one_meant(api: Api) -> None:
    job = await api.submit()
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the video")
    urls = [f"/v1/jobs/{job['id']}/content", f"/v1/jobs/{job['id']}/clips/0/content"]
    urls.append(f"/v1/artifacts/{(await api.show(job['id']))['output']['artifact_id']}/content")

    for url in urls:
        tag = (await api.http.head(url)).headers["etag"]
        same = await api.http.get(url, headers={**if_match(tag), "Range": "bytes=0-2"})
        other = await api.http.get(url, headers={**if_match('"other"'), "If-None-Match": tag})
        assert (same.status_code, same.content) == (206, b"the"), url
        assert_problem(other, 412, "PRECONDITION_FAILED")
