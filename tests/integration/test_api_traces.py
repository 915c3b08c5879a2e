"""From a request to the work that it caused: its id and its trace are in answers, in every log, and in webhooks."""

import io
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from fixtures.api import Api, open_api, reel_body
from fixtures.log_lines import lines_about
from fixtures.webhook_receiver import Receiver, end_job
from fixtures.workplace import WorkerHarness, harness_settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
CAUSE = {"X-Request-ID": "mine", "traceparent": TRACEPARENT}


@pytest.mark.parametrize("path", ["/health/live", "/v1/models", "/nowhere"])
async def test_a_trace_is_echoed_and_logged(api: Api, path: str, log_lines: io.StringIO) -> None:
    response = await api.http.get(path, headers=CAUSE)

    assert response.headers["traceparent"] == TRACEPARENT
    (line,) = lines_about(log_lines, "request")
    assert (line["request_id"], line["trace_id"]) == ("mine", TRACE)


@pytest.mark.parametrize("given", [[], ["nonsense"], ["00-" + "0" * 32 + "-00f067aa0ba902b7-01"], [TRACEPARENT] * 2])
async def test_what_is_no_trace_is_neither_echoed_nor_logged(
    api: Api, given: list[str], log_lines: io.StringIO
) -> None:
    response = await api.http.get("/v1/models", headers=[("traceparent", each) for each in given])

    assert response.status_code == 200
    assert "traceparent" not in response.headers
    assert "trace_id" not in lines_about(log_lines, "request")[0]


async def test_a_workers_log_lines_name_the_request_that_made_the_job(
    tmp_path: Path, sqlite_url: URL, redis_url: str, log_lines: io.StringIO
) -> None:
    settings = harness_settings(tmp_path, sqlite_url, redis_url)
    async with open_api(settings) as api:
        harness = WorkerHarness(api.services, settings)
        body = reel_body(duration_s=0.5, steps=2, resolution="240p")
        async with harness.worker():
            job = (await api.http.post("/v1/reels", json=body, headers=CAUSE)).json()
            async with api.http.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
                await events.aread()

    for event in ("clip rendered", "result assembled"):
        (line,) = lines_about(log_lines, event)
        assert (line["request_id"], line["trace_id"], line["job_id"]) == ("mine", TRACE, job["id"])


async def test_a_webhook_names_the_request_that_made_the_job(webhook_api: Api, receiver: Receiver) -> None:
    webhook_api.http.headers.update(CAUSE)
    await end_job(webhook_api, receiver.url())

    received = await receiver.next()

    assert received.headers["x-request-id"] == "mine"
    assert received.headers["traceparent"] == TRACEPARENT


async def test_a_webhook_without_a_trace_names_none(webhook_api: Api, receiver: Receiver) -> None:
    await end_job(webhook_api, receiver.url())

    received = await receiver.next()

    assert received.headers["x-request-id"].startswith("req_")
    assert "traceparent" not in received.headers
