"""What a crowd of streams that comes over from a replica that died asks of the database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from builders import submit_reel
from fixtures.api import Api, until
from fixtures.callers import GuardedApi
from phoenix.access.keys import ANYBODY

JOBS = 60
WATCHERS = 5
"""Of each job."""
MOST_QUERIES = JOBS * WATCHERS * 2 / 3
"""A tenth of it for the streams, when nothing else runs here; the background services add more the longer it takes."""

EXPECTED = {None: "event: snapshot", "0": "event: job.queued", "1": ": still here"}
"""By the number of the last event that a client has: the first frame that it gets."""


@contextmanager
def counting_queries(api: Api) -> Iterator[list[str]]:
    """Statements that this process sends to its database, its background services' included."""
    sent: list[str] = []
    engine = api.services.database.engine.sync_engine

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("last_id", [None, "0", "1"], ids=["new", "behind", "up to date"])
async def test_a_crowd_is_taken_over_with_a_few_queries(api: Api, last_id: str | None) -> None:
    jobs = [await submit_reel(api.services.database, owner_id=ANYBODY.owner_id) for _ in range(JOBS)]
    headers = {"Last-Event-ID": last_id} if last_id else {}

    async def all_are_open() -> bool:
        return api.state.hub.streams == JOBS * WATCHERS

    with counting_queries(api) as sent:
        streams = [
            asyncio.create_task(api.http.get(f"/v1/jobs/{job_id}/events", headers=headers))
            for job_id in jobs * WATCHERS
        ]
        await until(all_are_open)
        api.state.draining.set()
        responses = await asyncio.gather(*streams)

    assert all(EXPECTED[last_id] in answer.text for answer in responses)
    assert len(sent) < MOST_QUERIES


async def test_the_streams_of_all_jobs_of_one_key_are_taken_over_with_a_few_queries(api: Api) -> None:
    for _ in range(JOBS):
        await submit_reel(api.services.database, owner_id=ANYBODY.owner_id)

    async def all_are_open() -> bool:
        return api.state.hub.streams == JOBS * WATCHERS

    with counting_queries(api) as sent:
        streams = [asyncio.create_task(api.http.get("/v1/events")) for _ in range(JOBS * WATCHERS)]
        await until(all_are_open)
        api.state.draining.set()
        responses = await asyncio.gather(*streams)

    assert all(answer.text.count("event: snapshot") == JOBS for answer in responses)
    assert len(sent) < MOST_QUERIES


@pytest.mark.parametrize("has_token", [False, True], ids=["key", "token"])
async def test_who_the_crowd_is_takes_a_few_queries_too(guarded: GuardedApi, has_token: bool) -> None:
    owner = await guarded.caller()
    url = f"/v1/jobs/{(await owner.submit())['id']}/events"
    client = owner.http
    if has_token:
        url, client = (await client.post(url.replace("events", "stream-tokens"))).json()["url"], guarded.api.http

    async def all_are_open() -> bool:
        return guarded.api.state.hub.streams == JOBS * WATCHERS

    with counting_queries(guarded.api) as sent:
        streams = [asyncio.create_task(client.get(url)) for _ in range(JOBS * WATCHERS)]
        await until(all_are_open)
        guarded.api.state.draining.set()
        await asyncio.gather(*streams)

    assert len(sent) < MOST_QUERIES
