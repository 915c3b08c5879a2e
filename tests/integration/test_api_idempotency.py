"""The same request twice is one job, however it comes; and an answer that waits for the end of its job."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.engine import URL

from builders import complete_next
from fixtures.api import Api, assert_problem, open_api, reel_body
from fixtures.callers import GuardedApi
from phoenix.jobs.submission.idempotency import RETENTION_S, delete_old_keys
from phoenix.jobs.tables import IdempotencyRow, JobRow
from phoenix.settings import DatabaseSettings, Settings


@pytest.fixture
async def any_api(api_settings: Settings, any_database_url: URL) -> AsyncIterator[Api]:
    """The application on each kind of database."""
    url = any_database_url.render_as_string(hide_password=False)
    async with open_api(api_settings.model_copy(update={"database": DatabaseSettings(url=url)})) as opened:
        yield opened


async def count_jobs(api: Api) -> int:
    async with api.services.database.read() as session:
        return await session.scalar(select(func.count()).select_from(JobRow)) or 0


async def post(api: Api, key: str, *prompts: str, **headers: str) -> httpx.Response:
    headers = {"Idempotency-Key": key, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await api.http.post("/v1/reels", json=reel_body(*prompts), headers=headers)


async def test_the_same_request_again_is_answered_with_the_same_job(api: Api) -> None:
    first, again, quoted = await post(api, "abc"), await post(api, "abc"), await post(api, '"abc"')

    assert [one.status_code for one in (first, again, quoted)] == [202, 202, 202]
    assert {one.json()["id"] for one in (first, again, quoted)} == {first.json()["id"]}
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == quoted.headers["idempotent-replayed"] == "true"
    assert await count_jobs(api) == 1


async def test_fifty_at_once_make_exactly_one_job(any_api: Api) -> None:
    responses = await asyncio.gather(*(post(any_api, "abc") for _ in range(50)))

    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    assert sum("idempotent-replayed" not in response.headers for response in responses) == 1
    assert await count_jobs(any_api) == 1


async def test_the_key_of_another_request_is_refused(api: Api) -> None:
    await post(api, "abc", "one")

    assert_problem(await post(api, "abc", "two"), 422, "IDEMPOTENCY_MISMATCH")
    assert await count_jobs(api) == 1


async def test_a_refused_request_leaves_its_key_free(api: Api) -> None:
    assert_problem(await post(api, "abc", " "), 422, "INVALID_REQUEST")
    refused = await api.http.post("/v1/reels", json=reel_body(model="sora-9"), headers={"Idempotency-Key": "abc"})
    assert_problem(refused, 422, "INVALID_REQUEST")

    assert (await post(api, "abc", "one")).status_code == 202


async def test_a_key_means_something_else_on_another_route(api: Api) -> None:
    await post(api, "abc")

    response = await api.http.post("/v1/stitches", json={"artifact_ids": []}, headers={"Idempotency-Key": "abc"})

    assert_problem(response, 422, "INVALID_REQUEST")


async def test_a_key_means_something_else_for_another_owner(guarded: GuardedApi) -> None:
    mine, theirs = await guarded.caller(), await guarded.caller()

    jobs = {(await post(one, "abc")).json()["id"] for one in (mine, theirs)}

    assert len(jobs) == 2


async def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    first = await post(api, "abc")
    async with api.services.database.write() as uow:
        await uow.session.execute(
            update(IdempotencyRow).values(created_at=await uow.now() - timedelta(seconds=RETENTION_S + 1))
        )

    second = await post(api, "abc", "another prompt")

    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]


async def test_old_records_are_deleted(api: Api) -> None:
    await post(api, "old")
    async with api.services.database.write() as uow:
        await uow.session.execute(
            update(IdempotencyRow).values(created_at=await uow.now() - timedelta(seconds=RETENTION_S + 1))
        )
    await post(api, "new")

    async with api.services.database.write() as uow:
        await delete_old_keys(uow)

    async with api.services.database.read() as session:
        assert list(await session.scalars(select(IdempotencyRow.key))) == ["new"]


async def test_a_replay_shows_the_job_as_it_is_now(api: Api) -> None:
    job = (await post(api, "abc")).json()
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")

    assert (await post(api, "abc")).json()["state"] == "canceled"


async def test_a_replay_of_a_deleted_job_says_so(api: Api) -> None:
    job = (await post(api, "abc")).json()
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    await api.http.delete(f"/v1/jobs/{job['id']}")

    assert_problem(await post(api, "abc"), 410, "GONE")
    assert await count_jobs(api) == 0


@pytest.mark.parametrize("key", ['"abc', "x" * 256, '""'])
async def test_a_bad_key_is_named(api: Api, key: str) -> None:
    problem = assert_problem(await post(api, key), 422, "INVALID_REQUEST")

    assert [error["pointer"] for error in problem["errors"]] == ["/header/Idempotency-Key"]


async def test_an_answer_that_waits_comes_when_the_job_ends(api: Api) -> None:
    async def finish() -> None:
        while not await count_jobs(api):  # noqa: ASYNC110 - rows cannot be awaited
            await asyncio.sleep(0.01)
        for queue in ("gpu", "media"):
            await complete_next(api.services.database, queue)

    started_s = time.monotonic()
    waiting = asyncio.create_task(api.http.post("/v1/reels", json=reel_body(), headers={"Prefer": "wait=60"}))
    await finish()
    response = await waiting

    assert response.json()["state"] == "succeeded"
    assert response.headers["preference-applied"] == "wait=60"
    # The rest is for a machine that stands still.
    assert time.monotonic() - started_s < 50


async def test_an_answer_waits_no_longer_than_it_was_asked_to(api: Api) -> None:
    response = await api.http.post("/v1/reels", json=reel_body(), headers={"Prefer": "wait=1"})

    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert api.state.hub.streams == 0


async def test_a_replay_waits_too(api: Api) -> None:
    job = (await post(api, "abc")).json()
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")

    response = await post(api, "abc", Prefer="wait=30")

    assert (response.json()["state"], response.headers["preference-applied"]) == ("canceled", "wait=30")
