"""Following a job with a token instead of a key, and following all jobs at once."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from builders import claim_next, complete_next
from fixtures.api import Api, assert_problem, open_api, open_stream
from phoenix.clock import utc_now
from phoenix.settings import Settings

ORIGIN = "https://app.example"


@pytest.fixture
async def guarded(api_settings: Settings) -> AsyncIterator[Api]:
    """Auth is required, and one origin is allowed."""
    changed = api_settings.api.model_copy(update={"cors_origins": (ORIGIN,)})
    async with open_api(api_settings.model_copy(update={"api": changed}), leads=False) as api:
        yield api


async def ended_job(api: Api) -> str:
    job = await api.submit()
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    return job["id"]


async def test_a_token_opens_the_stream_of_its_job(api: Api) -> None:
    job_id = await ended_job(api)
    answer = await api.http.post(f"/v1/jobs/{job_id}/stream-tokens")
    token = answer.json()

    stream = await api.http.get(token["url"])

    assert (answer.status_code, stream.status_code) == (201, 200)
    assert "event: job.canceled" in stream.text
    assert token["url"] == f"/v1/jobs/{job_id}/events?token={token['token']}"


async def test_a_token_outlives_the_longest_run_and_the_longest_stream(api: Api) -> None:
    job = await api.submit()
    token = (await api.http.post(f"/v1/jobs/{job['id']}/stream-tokens")).json()
    limits, events = api.services.settings.limits, api.services.settings.events
    longest_s = limits.default_queue_timeout_s + limits.default_run_timeout_s + events.max_stream_age_s

    lasts = datetime.fromisoformat(token["expires_at"]) - utc_now()

    assert abs(lasts - timedelta(seconds=longest_s)) < timedelta(seconds=10)


async def test_a_token_is_refused_on_another_job_before_any_stream_byte(api: Api) -> None:
    token = (await api.http.post(f"/v1/jobs/{await ended_job(api)}/stream-tokens")).json()["token"]
    url = f"/v1/jobs/{await ended_job(api)}/events"
    api.http.cookies.clear()

    assert_problem(await api.http.get(url, params={"token": token}), 403, "FORBIDDEN")
    assert_problem(await api.http.get(url, params={"token": token + "x"}), 401, "UNAUTHENTICATED")


async def test_a_token_is_of_no_use_elsewhere(api: Api) -> None:
    job_id = await ended_job(api)
    token = (await api.http.post(f"/v1/jobs/{job_id}/stream-tokens")).json()["token"]
    document = (await api.http.get("/openapi.json")).json()

    takes_token = [
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if {"stream_token": []} in operation.get("security", [])
    ]

    assert takes_token == ["/v1/jobs/{job_id}/events"]
    assert_problem(await api.http.get(f"/v1/jobs/{job_id}/content?token={token}"), 401, "UNAUTHENTICATED")


async def test_the_cookie_is_for_the_stream_alone_and_out_of_reach_of_scripts(api: Api) -> None:
    job_id = await ended_job(api)

    cookie = (await api.http.post(f"/v1/jobs/{job_id}/stream-tokens")).headers["set-cookie"]

    assert f"Path=/v1/jobs/{job_id}/events" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


async def test_another_replica_takes_the_token(api: Api, api_settings: Settings) -> None:
    job_id = await ended_job(api)
    url = (await api.http.post(f"/v1/jobs/{job_id}/stream-tokens")).json()["url"]

    async with open_api(api_settings) as other:
        assert (await other.http.get(url)).status_code == 200


async def test_a_stream_token_is_not_in_the_log(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    token = (await api.http.post(f"/v1/jobs/{await ended_job(api)}/stream-tokens")).json()

    await api.http.get(token["url"])

    written = capfd.readouterr()
    assert token["token"] not in written.out + written.err


async def test_an_allowed_origin_may_resume_and_another_may_not(guarded: Api) -> None:
    def preflight(origin: str) -> dict[str, str]:
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "last-event-id"}
        return {"Origin": origin, **asked}

    url = f"/v1/jobs/{await ended_job(guarded)}/events"
    asked = await guarded.http.options(url, headers=preflight(ORIGIN))
    allowed = await guarded.http.get(url, headers={"Origin": ORIGIN})
    other = await guarded.http.get(url, headers={"Origin": "https://evil.example"})

    assert "last-event-id" in asked.headers["access-control-allow-headers"].lower()
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in other.headers


async def test_the_stream_of_all_jobs_starts_with_those_that_wait_and_a_cursor(api: Api) -> None:
    one, two = await api.submit(), await api.submit()
    async with open_stream(api, "/v1/events") as stream:
        await stream.until("event: snapshot")
        await api.http.post(f"/v1/jobs/{one['id']}/cancel")
        await stream.until("event: job.canceled")
        api.state.draining.set()
        text = await stream.until_end()
    names = [line.removeprefix("event: ") for line in text.split("\n") if line.startswith("event: ")]

    assert names[:2] == ["snapshot", "snapshot"]
    assert "job.canceled" in names
    assert two["id"] in text
    assert text.index("\nid: ") > text.rindex("event: snapshot")


async def test_the_stream_of_a_waiting_job_reports_each_change_of_its_position(leading_api: Api) -> None:
    await leading_api.register_worker(slots=0)
    first, second = await leading_api.submit(), await leading_api.submit()
    async with open_stream(leading_api, f"/v1/jobs/{second['id']}/events") as stream:
        await stream.until("event: snapshot")
        assert (await claim_next(leading_api.services.database)).job_id == first["id"]
        await stream.until('"queue_position":0')
        await leading_api.http.post(f"/v1/jobs/{second['id']}/cancel")
        text = await stream.until_end()

    assert "event: job.queue\n" in text


async def test_the_stream_of_a_running_job_reports_what_it_waits_for_until_it_goes_on(leading_api: Api) -> None:
    await leading_api.register_worker("gpu")
    job = await leading_api.submit(soundtrack={"url": "https://example.com/a.mp3"})
    await complete_next(leading_api.services.database)
    async with open_stream(leading_api, f"/v1/jobs/{job['id']}/events") as stream:
        await stream.until("event: job.queue\n")
        await stream.until('"waiting_reason":{"code":"NO_WORKER_FOR_QUEUE"')
        await claim_next(leading_api.services.database, "media")
        await stream.until('"type":"job.queue","queue_position":null,"waiting_reason":null')
        await leading_api.http.post(f"/v1/jobs/{job['id']}/cancel")
