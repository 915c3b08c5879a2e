"""Streams and stream tokens end with the key that they were opened with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from typer.testing import CliRunner

from fixtures.api import assert_problem, until
from fixtures.callers import GuardedApi, open_guarded_api
from phoenix.access.keys import ids_of
from phoenix.cli.app import app
from phoenix.settings import Settings

# Nothing else would end a stream within the time of a test.
HEARTBEAT_S = 0.3


@pytest.fixture
async def beating(api_settings: Settings) -> AsyncIterator[GuardedApi]:
    events = api_settings.events.model_copy(update={"heartbeat_s": HEARTBEAT_S})
    async with open_guarded_api(api_settings.model_copy(update={"events": events})) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/v1/jobs/{}/events", "/v1/events"])
async def test_a_stream_ends_when_its_key_is_revoked_and_other_keys_streams_go_on(
    beating: GuardedApi, path: str
) -> None:
    keys = [await beating.make_key() for _ in range(2)]
    callers = [beating.client(key) for key in keys]
    urls = [path.format((await caller.submit())["id"]) for caller in callers]
    revoked, kept = [asyncio.create_task(caller.http.get(url)) for caller, url in zip(callers, urls, strict=True)]

    async def both_are_open() -> bool:
        return beating.api.state.hub.streams == 2

    await until(both_are_open)
    await beating.revoke(keys[0])

    answer = await asyncio.wait_for(revoked, 100)
    # Told when to come back, as after any end: only a refusal stops a browser.
    assert answer.text.rstrip().splitlines()[-1].startswith("retry: ")
    assert_problem(await callers[0].http.get(urls[0]), 401, "UNAUTHENTICATED")
    assert not kept.done()
    kept.cancel()


async def revoke(beating: GuardedApi, key: str) -> None:
    await beating.revoke(key)


async def replace_leaked(beating: GuardedApi, key: str) -> None:
    await beating.rotate(key, hours=0)


@pytest.mark.parametrize("end", [revoke, replace_leaked])
async def test_a_stream_token_is_worth_no_more_than_the_secret_that_made_it(
    beating: GuardedApi, end: Callable[[GuardedApi, str], Awaitable[None]]
) -> None:
    key = await beating.make_key()
    caller = beating.client(key)
    job = await caller.submit()
    url = (await caller.http.post(f"/v1/jobs/{job['id']}/stream-tokens")).json()["url"]
    following = asyncio.create_task(beating.api.http.get(url))

    async def is_open() -> bool:
        return beating.api.state.hub.streams == 1

    await until(is_open)
    await end(beating, key)

    await asyncio.wait_for(following, 100)
    assert_problem(await beating.api.http.get(url), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("path", ["/v1/jobs/{}/events", "/v1/events"])
async def test_a_stream_ends_with_the_secret_that_opened_it_and_streams_of_the_new_secret_go_on(
    beating: GuardedApi, path: str
) -> None:
    key = await beating.make_key()
    url = path.format((await beating.client(key).submit())["id"])
    newer = await beating.rotate(key, hours=1)
    kept, leaked = [asyncio.create_task(beating.client(each).http.get(url)) for each in (newer, key)]

    async def both_are_open() -> bool:
        return beating.api.state.hub.streams == 2

    await until(both_are_open)
    # The newer secret takes the place of the older one, which ends.
    newest = await beating.rotate(key, hours=1)

    await asyncio.wait_for(leaked, 100)
    assert_problem(await beating.client(key).http.get(url), 401, "UNAUTHENTICATED")
    assert not kept.done()
    await beating.rotate(newest, hours=0)
    await asyncio.wait_for(kept, 100)


@pytest.fixture
async def patient(api_settings: Settings) -> AsyncIterator[GuardedApi]:
    """No heartbeat within the time of a test."""
    events = api_settings.events.model_copy(update={"heartbeat_s": 3600})
    async with open_guarded_api(api_settings.model_copy(update={"events": events})) as opened:
        yield opened


@pytest.mark.parametrize("command", [("rotate", "--keep-old-for", "0"), ("revoke",), ("purge", "--yes")])
async def test_the_command_that_ends_a_secret_ends_its_streams_before_the_next_heartbeat(
    patient: GuardedApi, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = patient.api.services.settings
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PHOENIX_REDIS__URL", str(settings.redis.url))
    key = await patient.make_key()
    following = asyncio.create_task(patient.client(key).http.get("/v1/events"))

    async def is_open() -> bool:
        return patient.api.state.hub.streams == 1

    await until(is_open)
    name, *options = command
    done = await asyncio.to_thread(CliRunner().invoke, app, ["keys", name, ids_of(key)[0], *options])

    assert done.exit_code == 0, done.output
    await asyncio.wait_for(following, 100)


async def test_a_key_is_revoked_while_redis_is_away(patient: GuardedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(patient.api.services.settings.data_dir))
    monkeypatch.setenv("PHOENIX_REDIS__URL", "redis://127.0.0.1:1/0")
    key = await patient.make_key()

    done = await asyncio.to_thread(CliRunner().invoke, app, ["keys", "revoke", ids_of(key)[0]])

    assert (done.exit_code, "is revoked" in done.stdout) == (0, True)
    assert_problem(await patient.client(key).http.get("/v1/jobs"), 401, "UNAUTHENTICATED")
