"""OpenAI's SDKs try again by themselves, without a key: what a lost answer made is not made twice."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, event
from starlette.types import Message

from fixtures.api import Api, open_api
from fixtures.callers import GuardedApi
from phoenix.settings import Settings

VIDEO = {"prompt": "a balloon", "seconds": 1}


@dataclass
class Client:
    """One call of the application by a client that may leave before it is answered."""

    body: dict[str, Any]
    headers: dict[str, str]
    left: asyncio.Event = field(default_factory=asyncio.Event)
    has_sent: bool = False
    received: bytes = b""

    async def receive(self) -> Message:
        if not self.has_sent:
            self.has_sent = True
            return {"type": "http.request", "body": json.dumps(self.body).encode(), "more_body": False}
        if not self.left.is_set():
            await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.left.is_set():
            self.received += message.get("body", b"")

    async def call(self, api: Api) -> None:
        headers = {"host": "localhost", "content-type": "application/json", **self.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/videos",
            "raw_path": b"/v1/videos",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        await api.app(scope, self.receive, self.send)


def attempt(number: int, **body: Any) -> Client:
    return Client({**VIDEO, **body}, {"x-stainless-retry-count": str(number)})


def leave_at_commit(api: Api, client: Client) -> None:
    """Has the client leave at the very moment that its job is committed."""
    engine = api.services.database.engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def _(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO jobs "):
            connection.info[id(client)] = "makes a job"

    @event.listens_for(engine, "commit")
    def _(connection: Connection) -> None:
        if connection.info.pop(id(client), None):
            client.left.set()


async def lose_answer(api: Api, **body: Any) -> None:
    client = attempt(0, **body)
    leave_at_commit(api, client)
    await client.call(api)
    assert client.left.is_set()
    assert not client.received


async def make(api: Api, number: int = 0, **body: Any) -> str:
    client = attempt(number, **body)
    await client.call(api)
    return json.loads(client.received)["id"]


async def listed(api: Api) -> list[str]:
    return [video["id"] for video in (await api.http.get("/v1/videos")).json()["data"]]


async def test_the_next_try_gets_the_video_of_the_answer_that_was_lost(api: Api) -> None:
    await lose_answer(api)

    video_id = await make(api, 1)

    assert await listed(api) == [video_id]


async def test_any_replica_may_get_the_next_try(api: Api, api_settings: Settings) -> None:
    await lose_answer(api)

    async with open_api(api_settings) as other:
        video_id = await make(other, 2)

    assert await listed(api) == [video_id]


async def test_a_lost_answer_is_made_up_for_once(api: Api) -> None:
    await lose_answer(api)

    first, second = await make(api, 1), await make(api, 1)

    assert first != second


async def test_as_many_tries_as_answers_were_lost_get_one_video_each(api: Api) -> None:
    for _ in range(3):
        await lose_answer(api)

    made = [await make(api, 1) for _ in range(3)]

    assert sorted(await listed(api)) == sorted(made)
    assert len(set(made)) == 3


async def test_a_try_after_a_refusal_makes_a_video_of_its_own(api: Api) -> None:
    """The same prompt again and again is meant so; what was answered is nobody's to be given again."""
    first = await make(api)

    assert await make(api, 1) != first


@pytest.mark.parametrize("changed", [{"prompt": "the sea"}, {"seed": 7}, {"seconds": 2}])
async def test_another_request_does_not_get_what_was_lost(api: Api, changed: dict[str, Any]) -> None:
    await lose_answer(api)

    await make(api, 1, **changed)

    assert len(await listed(api)) == 2


async def test_a_first_try_does_not_get_what_was_lost(api: Api) -> None:
    await lose_answer(api)

    await make(api, 0)

    assert len(await listed(api)) == 2


async def test_for_a_client_that_has_gone_by_then_no_video_is_made(api: Api) -> None:
    client = attempt(0)
    client.left.set()

    await client.call(api)

    assert await listed(api) == []


async def test_what_was_lost_is_kept_for_its_owner(guarded: GuardedApi) -> None:
    mine, theirs = await guarded.make_key(), await guarded.make_key()
    lost = attempt(0)
    lost.headers["authorization"] = f"Bearer {mine}"
    leave_at_commit(guarded.api, lost)
    await lost.call(guarded.api)

    foreign = attempt(1)
    foreign.headers["authorization"] = f"Bearer {theirs}"
    await foreign.call(guarded.api)

    assert (await listed(guarded.client(mine))) != (await listed(guarded.client(theirs)))
    assert len(await listed(guarded.client(mine))) == 1


async def test_a_video_that_was_deleted_meanwhile_is_made_anew(api: Api) -> None:
    await lose_answer(api)
    (lost,) = await listed(api)
    job_id = "job_" + lost.removeprefix("video_")
    await api.http.post(f"/v1/jobs/{job_id}/cancel")
    await api.http.delete(f"/v1/jobs/{job_id}")

    assert await make(api, 1) != lost
