"""The event stream of a job, as its bytes arrive."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from builders import complete_next
from fixtures.api import Api, LiveStream, open_api, open_stream
from phoenix.contract import JobEvent
from phoenix.settings import Settings


@dataclass(frozen=True)
class Event:
    name: str
    id: int | None
    data: dict[str, Any]


def parse(text: str) -> list[Event]:
    """The events of a whole stream, each of which must be as the contract says."""
    assert "\r" not in text
    events: list[Event] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" not in fields:
            continue
        event = JobEvent.model_validate_json(fields["data"]).root
        assert event.type == fields["event"]
        assert fields.get("id", str(event.seq)) == str(event.seq)
        events.append(Event(fields["event"], int(fields["id"]) if "id" in fields else None, json.loads(fields["data"])))
    return events


@asynccontextmanager
async def following(api: Api, job_id: str) -> AsyncIterator[LiveStream]:
    """A stream that has its snapshot."""
    async with open_stream(api, f"/v1/jobs/{job_id}/events") as stream:
        await stream.until("event: snapshot")
        yield stream


async def finish(api: Api) -> None:
    await complete_next(api.services.database)
    await complete_next(api.services.database, "media")


async def test_a_stream_follows_a_job_from_its_snapshot_to_its_end(api: Api) -> None:
    job = await api.submit()
    async with following(api, job["id"]) as stream:
        await finish(api)
        text = await stream.until_end()

    events = parse(text)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"
    assert re.match(r"retry: \d+\n\n", text)
    assert (events[0].name, events[0].id) == ("snapshot", None)
    durable = [event.id for event in events if event.id is not None]
    assert durable == list(range(2, events[-1].data["seq"] + 1))
    assert events[-1].name == "job.succeeded"


async def test_a_finished_job_is_sent_and_the_stream_ends(api: Api) -> None:
    job = await api.submit()
    await finish(api)

    response = await api.http.get(f"/v1/jobs/{job['id']}/events")

    assert [event.name for event in parse(response.text)] == ["snapshot", "job.succeeded"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?last_event_id=3", {}), ("", {"Last-Event-ID": "3"}), ("?last_event_id=1", {"Last-Event-ID": "3"})],
)
async def test_a_client_that_reconnects_gets_what_it_missed(api: Api, query: str, headers: dict[str, str]) -> None:
    job = await api.submit()
    await finish(api)

    response = await api.http.get(f"/v1/jobs/{job['id']}/events{query}", headers=headers)

    assert [event.id for event in parse(response.text)] == [4, 5, 6]


@pytest.mark.parametrize("last_event_id", ["999", "-1", "abc", "", "9" * 400])
async def test_an_unknown_place_starts_over_with_a_snapshot(api: Api, last_event_id: str) -> None:
    job = await api.submit()
    await finish(api)

    response = await api.http.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": last_event_id})

    assert response.status_code == 200
    assert parse(response.text)[0].name == "snapshot"


async def test_a_client_that_has_the_end_is_stopped_with_204(api: Api) -> None:
    job = await api.submit()
    await finish(api)

    response = await api.http.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "6"})

    assert (response.status_code, response.content) == (204, b"")


async def test_head_answers_at_once(api: Api) -> None:
    job = await api.submit()

    response = await asyncio.wait_for(api.http.head(f"/v1/jobs/{job['id']}/events"), 100)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_the_log_can_be_read_as_json(api: Api) -> None:
    job = await api.submit()
    await finish(api)
    url = f"/v1/jobs/{job['id']}/events"

    whole = (await api.http.get(url, headers={"Accept": "application/json"})).json()
    rest = (await api.http.get(f"{url}?last_event_id=4", headers={"Accept": "application/json"})).json()

    assert [event["seq"] for event in whole["data"]] == [1, 2, 3, 4, 5, 6]
    assert [event["type"] for event in rest["data"]] == ["job.assembling", "job.succeeded"]
    assert whole["has_more"] is False


async def test_streams_say_goodbye_when_the_server_drains(api: Api) -> None:
    async with following(api, (await api.submit())["id"]) as stream:
        api.state.draining.set()
        text = await stream.until_end()

    assert text.count("retry: ") == 2


async def test_without_its_database_a_stream_asks_to_reconnect(api_settings: Settings) -> None:
    away = api_settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1/none"})
    async with open_api(api_settings.model_copy(update={"database": away})) as api:
        url = f"/v1/jobs/job_{'0' * 26}/events"

        stream = await api.http.get(url)
        page = await api.http.get(url, headers={"Accept": "application/json"})

        # An EventSource gives up for good on any other status.
        assert (stream.status_code, page.status_code) == (200, 503)
        assert re.fullmatch(r"retry: \d+\n\n", stream.text)
