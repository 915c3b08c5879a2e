"""Limits of one key over all replicas: shown in headers, enforced with 429, and not applied without Redis."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import update
from sqlalchemy.engine import URL
from sqlmodel import col

from builders import RULE, claim_next, make_failure, submit_reel
from fixtures.api import assert_problem, form_file, open_api, reel_body, until
from fixtures.callers import GuardedApi, id_of, open_guarded_api
from fixtures.redis_server import PATIENCE_S, RedisServer
from phoenix.access.open_slots import OpenPolicy, OpenSlots
from phoenix.access.rate_limits import RateLimitPolicy, TokenBuckets
from phoenix.db.unit_of_work import Database
from phoenix.errors import QueueFull, RateLimited
from phoenix.jobs.execution.task_completion import fail
from phoenix.jobs.scheduling.dispatch import count_in_flight
from phoenix.jobs.tables import AttemptRow, JobRow
from phoenix.settings import DatabaseSettings, LimitSettings, Settings

OpenLimited = Callable[..., Any]


@pytest.fixture
async def limited(api_settings: Settings) -> AsyncIterator[OpenLimited]:
    """Opens an application that requires keys, with some limits changed: `await limited(streams_per_key=1)`."""
    async with AsyncExitStack() as stack:

        async def opened(settings: Settings = api_settings, **limits: Any) -> GuardedApi:
            changed = settings.limits.model_copy(update=limits)
            return await stack.enter_async_context(open_guarded_api(settings.model_copy(update={"limits": changed})))

        yield opened


def policies_of(response: httpx.Response, status: int = 429, code: str = "RATE_LIMITED") -> list[str]:
    problem = assert_problem(response, status, code)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert int(response.headers["retry-after"]) >= 1
    names: list[str] = problem["violated-policies"]
    return names


def buckets_of(redis: Redis) -> TokenBuckets:
    return TokenBuckets(redis, "t", timeout_s=PATIENCE_S)


async def test_a_bucket_gives_its_quota_at_once_and_then_refuses(redis_client: Redis) -> None:
    buckets, policy = buckets_of(redis_client), RateLimitPolicy("x", quota=3, window_s=3600)

    taken = [await buckets.take_token(policy, "me") for _ in range(5)]

    assert [one and one.is_allowed for one in taken] == [True, True, True, False, False]
    assert [one and one.remaining for one in taken] == [2, 1, 0, 0, 0]
    assert all(one and 0 < one.reset_in_s <= 3600 for one in taken)
    assert [one and round(one.retry_in_s, -1) for one in taken[3:]] == [1200, 1200]


async def test_a_bucket_fills_again(redis_client: Redis) -> None:
    buckets, policy = buckets_of(redis_client), RateLimitPolicy("x", quota=10, window_s=1)

    async def is_free() -> bool:
        return (await buckets.take_token(policy, "me") or pytest.fail("Redis is away")).is_allowed

    async def is_empty() -> bool:
        return not await is_free()

    await until(is_empty)
    await until(is_free)


async def test_a_bucket_is_shared_by_replicas_and_not_by_keys(redis_client: Redis) -> None:
    one, other, policy = (
        buckets_of(redis_client),
        buckets_of(redis_client),
        RateLimitPolicy("x", quota=10, window_s=3600),
    )

    taken = await asyncio.gather(*(each.take_token(policy, "me") for each in (one, other) for _ in range(10)))

    assert sum(each is not None and each.is_allowed for each in taken) == 10
    assert (await one.take_token(policy, "you") or pytest.fail("Redis is away")).is_allowed


async def test_every_answer_reports_the_remaining_quota(limited: OpenLimited) -> None:
    guarded = await limited(requests_per_minute=5)
    caller = await guarded.caller()

    responses = [await caller.http.get(path) for path in ("/v1/jobs", "/v1/jobs/nothing", "/v1/models")]

    assert [response.headers["ratelimit-policy"] for response in responses] == ['"requests";q=5;w=60'] * 3
    found = [re.fullmatch(r'"requests";r=(\d+);t=(\d+)', response.headers["ratelimit"]) for response in responses]
    assert [match and int(match[1]) for match in found] == [4, 3, 2]
    # Less by the time between two requests.
    assert all(match and used * 12 - 12 < int(match[2]) <= used * 12 for used, match in enumerate(found, start=1))


async def test_too_many_requests_are_refused_over_all_replicas(limited: OpenLimited) -> None:
    one, other = await limited(requests_per_minute=5), await limited(requests_per_minute=5)
    key = await one.make_key()

    # Each replica alone would answer five of them. While the machine stands still, the bucket fills again.
    answers = [await each.client(key).http.get("/v1/jobs") for _ in range(8) for each in (one, other)]
    refused = next(answer for answer in answers if answer.status_code == 429)

    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    assert sum(answer.status_code == 200 for answer in answers) < 10
    assert policies_of(refused) == ["requests"]
    assert int(refused.headers["retry-after"]) <= 13
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert (await (await one.caller()).http.get("/v1/jobs")).status_code == 200


async def test_without_redis_nobody_is_refused(limited: OpenLimited, redis_server: RedisServer) -> None:
    guarded = await limited(requests_per_minute=1)
    caller = await guarded.caller()
    redis_server.kill()

    responses = [await caller.http.get("/v1/jobs") for _ in range(4)]

    assert {response.status_code for response in responses} == {200}
    assert "ratelimit" not in responses[-1].headers


async def test_where_no_key_is_needed_nothing_is_limited(api_settings: Settings) -> None:
    limits = api_settings.limits.model_copy(update={"requests_per_minute": 1, "queued_jobs_per_key": 1})
    async with open_api(api_settings.model_copy(update={"limits": limits})) as api:
        jobs = [await api.submit() for _ in range(3)]

    assert len(jobs) == 3


async def test_guessing_keys_is_slowed_down(limited: OpenLimited) -> None:
    guarded = await limited(failed_auth_per_minute=3)
    good = await guarded.caller()

    guesses = [await guarded.api.http.get("/v1/jobs", headers={"Authorization": f"Bearer phx_{n}"}) for n in range(5)]

    assert [guess.status_code for guess in guesses] == [401, 401, 401, 429, 429]
    assert policies_of(guesses[-1]) == ["failed-auth"]
    # Somebody behind the same address who has a key is let in.
    assert (await good.http.get("/v1/jobs")).status_code == 200


@pytest.fixture
def any_settings(api_settings: Settings, any_database_url: URL) -> Settings:
    url = any_database_url.render_as_string(hide_password=False)
    return api_settings.model_copy(update={"database": DatabaseSettings(url=url, busy_timeout_s=60)})


async def test_of_many_submits_at_once_no_more_are_accepted_than_a_key_may_queue(
    any_settings: Settings, limited: OpenLimited
) -> None:
    guarded, other = [await limited(any_settings, queued_jobs_per_key=3) for _ in range(2)]
    key = await guarded.make_key()
    replicas = [guarded.client(key), other.client(key)] * 4

    responses = await asyncio.gather(*(caller.http.post("/v1/reels", json=reel_body()) for caller in replicas))

    assert sorted(response.status_code for response in responses) == [202] * 3 + [429] * 5
    refused = next(response for response in responses if response.status_code == 429)
    assert policies_of(refused) == ["queued-jobs"]
    assert (await (await guarded.caller()).http.post("/v1/reels", json=reel_body())).status_code == 202


async def test_a_job_that_has_started_frees_its_place_in_the_queue(limited: OpenLimited) -> None:
    guarded = await limited(queued_jobs_per_key=1)
    caller = await guarded.caller()
    await caller.submit()

    await claim_next(guarded.api.services.database)

    await caller.submit()


async def test_a_job_that_is_retried_needs_free_capacity_in_the_queue_too(limited: OpenLimited) -> None:
    guarded = await limited(queued_jobs_per_key=1)
    caller = await guarded.caller()
    job = await caller.submit()
    await caller.http.post(f"/v1/jobs/{job['id']}/cancel")
    await caller.submit()

    refused = await caller.http.post(f"/v1/jobs/{job['id']}/retry")

    assert policies_of(refused) == ["queued-jobs"]
    assert (await caller.show(job["id"]))["state"] == "canceled"


async def test_an_edit_needs_free_capacity_in_the_queue_too(limited: OpenLimited) -> None:
    guarded = await limited(queued_jobs_per_key=1)
    caller = await guarded.caller()
    job = await caller.submit()
    await caller.http.post(f"/v1/jobs/{job['id']}/cancel")
    await caller.submit()

    refused = await caller.http.post(f"/v1/jobs/{job['id']}/edits", json={"title": "second"})

    assert policies_of(refused) == ["queued-jobs"]


async def test_a_full_queue_takes_no_job_that_is_tried_again(limited: OpenLimited) -> None:
    guarded = await limited(max_queued_jobs=1)
    caller = await guarded.caller()
    job = await caller.submit()
    await caller.http.post(f"/v1/jobs/{job['id']}/cancel")
    await caller.submit()

    assert_problem(await caller.http.post(f"/v1/jobs/{job['id']}/retry"), 503, "QUEUE_FULL")


async def test_a_key_that_has_used_up_its_gpu_seconds_waits_until_they_are_a_day_old(limited: OpenLimited) -> None:
    guarded, other = [await limited(gpu_seconds_per_day=100) for _ in range(2)]
    key = await guarded.make_key()
    caller, elsewhere = guarded.client(key), other.client(key)
    database = guarded.api.services.database
    await caller.submit()
    await claim_next(database)

    async def let_it_have_run(hours_ago: float) -> None:
        async with database.write() as uow:
            started_at = await uow.now() - timedelta(hours=hours_ago)
            ended_at = started_at + timedelta(seconds=101)
            await uow.session.execute(update(AttemptRow).values(started_at=started_at, ended_at=ended_at))

    await let_it_have_run(hours_ago=23)
    refused = await elsewhere.http.post("/v1/reels", json=reel_body())
    assert policies_of(refused) == ["gpu-seconds"]
    assert int(refused.headers["retry-after"]) == pytest.approx(3600, abs=100)
    assert (await (await guarded.caller()).http.post("/v1/reels", json=reel_body())).status_code == 202

    await let_it_have_run(hours_ago=25)
    await caller.submit()


async def test_gpu_seconds_of_a_job_that_was_deleted_count_as_well(limited: OpenLimited) -> None:
    guarded = await limited(gpu_seconds_per_day=100)
    caller = await guarded.caller()
    database = guarded.api.services.database
    job = await caller.submit()
    claimed = await claim_next(database)
    async with database.write() as uow:
        now = await uow.now()
        await uow.session.execute(update(AttemptRow).values(started_at=now - timedelta(seconds=101)))
        await fail(uow, claimed, make_failure(), RULE, jitter=0)

    assert (await caller.http.delete(f"/v1/jobs/{job['id']}")).status_code == 204

    refused = await caller.http.post("/v1/reels", json=reel_body())
    assert policies_of(refused) == ["gpu-seconds"]


async def test_a_key_may_upload_so_many_bytes_a_day(limited: OpenLimited, png_file: Path) -> None:
    size_bytes = len(form_file(png_file)["file"][1])
    guarded, other = [await limited(upload_bytes_per_day=size_bytes * 2 + 1) for _ in range(2)]
    key = await guarded.make_key()

    responses = [await each.client(key).upload(png_file) for each in (guarded, other, guarded)]

    assert [response.status_code for response in responses] == [201, 201, 429]
    assert policies_of(responses[-1]) == ["upload-bytes"]
    assert int(responses[-1].headers["retry-after"]) > 86_000
    assert len(guarded.api.stored_files()) == 2


async def test_of_an_owner_at_its_limit_no_more_clips_are_dispatched(limited: OpenLimited) -> None:
    guarded = await limited(running_clips_per_key=2)
    greedy, modest = await guarded.caller(), await guarded.caller()
    database = guarded.api.services.database
    await guarded.api.register_worker("gpu", slots=8)
    first = await greedy.submit("a", "b", "c", "d")
    second = await greedy.submit("e")
    other = await modest.submit("f")

    async def are_fed() -> bool:
        async with database.read() as session:
            return sorted((await count_in_flight(session, "gpu")).values()) == [1, 2]

    await until(are_fed)
    reason = (await greedy.show(second["id"]))["waiting_reason"]
    assert reason == {
        "code": "AT_YOUR_LIMIT",
        "detail": "This key has 2 clips under way, which is as many as it may.",
    }
    assert (await modest.show(other["id"]))["waiting_reason"]["detail"] == "A worker is about to start it."
    assert (await greedy.show(first["id"]))["state"] == "queued"


async def test_a_full_queue_says_when_a_place_should_be_free(database: Database) -> None:
    limits = LimitSettings(max_queued_jobs=1)
    await submit_reel(database)

    async def hint() -> int | None:
        with pytest.raises(QueueFull) as caught:
            await submit_reel(database, limits=limits)
        return caught.value.retry_after_s

    async def let_end(count: int) -> None:
        ids = [await submit_reel(database) for _ in range(count)]
        async with database.write() as uow:
            ended = {"state": "canceled", "finished_at": await uow.now()}
            await uow.session.execute(update(JobRow).where(col(JobRow.id).in_(ids)).values(**ended))

    slow = await hint()
    await let_end(10)

    assert (slow, await hint()) == (300, 30)


def slots_of(redis: Redis, per_key: int, *, lease_s: int = 600) -> OpenSlots:
    return OpenSlots(redis, "t", OpenPolicy("streams", per_key, RateLimited), timeout_s=PATIENCE_S, lease_s=lease_s)


@asynccontextmanager
async def holding(streams: OpenSlots, owner_id: str, count: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(streams.slot(owner_id))
        yield


async def test_streams_are_counted_over_all_replicas(redis_client: Redis) -> None:
    one, other = (slots_of(redis_client, 3) for _ in range(2))

    async with holding(one, "me", 2), holding(other, "me", 1):
        with pytest.raises(RateLimited) as caught:
            async with other.slot("me"):
                pass
        async with other.slot("you"):
            pass
    async with holding(one, "me", 3):
        pass
    assert caught.value.policies == ("streams",)


async def test_the_streams_of_a_lost_replica_are_forgotten(redis_client: Redis) -> None:
    lost, other = (slots_of(redis_client, 1) for _ in range(2))
    slot = lost.slot("me")
    await slot.__aenter__()

    async def is_free() -> bool:
        try:
            async with other.slot("me"):
                return True
        except RateLimited:
            return False

    assert not await is_free()
    # Its lease ends without a renewal.
    (lost_id,) = await redis_client.zrange("t:limit:streams:me", 0, -1)
    await redis_client.zadd("t:limit:streams:me", {lost_id: 1})
    assert await is_free()
    await slot.__aexit__(None, None, None)


async def test_the_streams_of_a_live_replica_are_kept(redis_client: Redis) -> None:
    streams = slots_of(redis_client, 1, lease_s=2)
    async with streams.running(), streams.slot("me"):
        renewed = await redis_client.zrange("t:limit:streams:me", 0, -1, withscores=True)

        async def is_renewed() -> bool:
            return await redis_client.zrange("t:limit:streams:me", 0, -1, withscores=True) != renewed

        await until(is_renewed)


async def test_a_key_has_only_so_many_streams_open(limited: OpenLimited) -> None:
    guarded = await limited(streams_per_key=1)
    key = await guarded.make_key()
    caller = guarded.client(key)
    job = await caller.submit()
    slot = guarded.api.state.open_streams.slot(id_of(key))

    async with slot:
        for path in (f"/v1/jobs/{job['id']}/events", "/v1/events"):
            assert policies_of(await caller.http.get(path)) == ["streams"]
    await caller.http.post(f"/v1/jobs/{job['id']}/cancel")
    for _ in range(3):
        assert (await caller.http.get(f"/v1/jobs/{job['id']}/events")).status_code == 200
