"""Streams of real API replicas, over TCP: what a client gets, whatever is killed, cut, flushed or kept silent."""

import asyncio
import os
import random
import re
import signal
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import httpx
import psutil
import pytest
from redis.asyncio import Redis

from fixtures.event_streams import Frame
from fixtures.stream_fleet import (
    HEARTBEAT_S,
    TIMEOUT_S,
    Cuts,
    Driver,
    Seen,
    StreamFleet,
    connected,
    follow_with_cuts,
    open_unread,
    read_until,
)
from phoenix.contract import TERMINAL_EVENT_TYPES, JobState
from phoenix.jobs.execution.fan_in import end_job
from phoenix.jobs.repository import find_job_locked
from phoenix.services import open_database

ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
CUTS = int(os.environ.get("STREAM_CUTS", "100"))
"""Forced disconnects, over all clients. `make faults` makes a thousand."""
# Twenty jobs tell of five things in three pauses each.
_PAUSE_S = 20 * 5 / 3 / 50
# What is lost on the way is found by the next heartbeat. The rest is for a busy machine.
BOUND_S = HEARTBEAT_S + TIMEOUT_S


async def until_ended(fleet: StreamFleet, job_id: str, seen: Seen, *, replica: int = 0) -> Seen:
    """Follows as an EventSource does, coming back when a stream ends before its job."""
    async with asyncio.timeout(TIMEOUT_S):
        while job_id not in seen.ended:
            try:
                await read_until(
                    fleet.stream_url(job_id, replica), seen, lambda frame: frame.event in TERMINAL_EVENT_TYPES
                )
            except httpx.TransportError:
                replica = 1 - replica
    return seen


def is_whole(seen: Seen, job_id: str) -> bool:
    """Every durable event once and in order."""
    numbers = seen.seqs[job_id]
    return numbers == list(range(1, len(numbers) + 1)) and job_id in seen.ended


async def until(is_so: Callable[[], bool]) -> None:
    """Of what clients in the background have seen."""
    async with asyncio.timeout(TIMEOUT_S):
        while not is_so():  # noqa: ASYNC110 - it is a list
            await asyncio.sleep(0.01)


async def after_snapshot(fleet: StreamFleet, job_id: str, seen: Seen) -> "asyncio.Task[Seen]":
    """A client that is past its snapshot and goes on in the background."""
    arrived = asyncio.Event()

    async def follow() -> Seen:
        async with connected(fleet.stream_url(job_id)) as (_, frames):
            async for frame in frames:
                seen.record(frame)
                arrived.set()
                if frame.event == "snapshot":
                    arrived.set()
        return seen

    task = asyncio.create_task(follow())
    async with asyncio.timeout(TIMEOUT_S):
        while not any(frame.event == "snapshot" for frame in seen.frames):
            await arrived.wait()
            arrived.clear()
    return task


async def test_the_first_byte_comes_at_once_with_the_headers_of_a_stream(stream_fleet: StreamFleet) -> None:
    job_id = await stream_fleet.driver.submit()
    await read_until(stream_fleet.stream_url(job_id), Seen(), lambda frame: frame.event == "snapshot")

    async with connected(stream_fleet.stream_url(job_id), headers={"Accept-Encoding": "gzip"}) as (response, frames):
        first = await anext(frames)

    assert first.retry_ms
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers


async def test_durable_events_have_ids_and_one_line_of_data_and_retries_differ(stream_fleet: StreamFleet) -> None:
    driver, retries = stream_fleet.driver, set()
    job_id = await driver.submit()
    await driver.finish(job_id)
    for _ in range(8):
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as http:
            text = (await http.get(stream_fleet.stream_url(job_id), headers={"Last-Event-ID": "0"})).text
        assert "\r" not in text
        retries |= set(re.findall(r"^retry: (\d+)$", text, re.MULTILINE))
        blocks = [block.split("\n") for block in text.split("\n\n") if "data:" in block]
        names = [[line.split(":")[0] for line in block] for block in blocks]
        assert names == [["id", "event", "data"]] * 6
        assert all(ID.fullmatch(block[0].removeprefix("id: ")) for block in blocks)

    assert len(retries) > 1


async def test_an_idle_stream_says_that_it_lives(stream_fleet: StreamFleet) -> None:
    job_id = await stream_fleet.driver.submit()
    async with connected(stream_fleet.stream_url(job_id)) as (_, frames), asyncio.timeout(BOUND_S):
        comments = 0
        async for frame in frames:
            comments += frame.is_comment
            if comments == 3:
                break

    assert comments == 3


async def test_a_running_job_starts_with_one_snapshot_and_goes_on_without_a_hole(stream_fleet: StreamFleet) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit("one", "two")
    first = await driver.claim(job_id)
    following = await after_snapshot(stream_fleet, job_id, seen)

    await driver.succeed(first)
    await driver.finish(job_id)
    await asyncio.wait_for(following, TIMEOUT_S)

    assert [frame.event for frame in seen.frames].count("snapshot") == 1
    assert is_whole(seen, job_id)


@pytest.mark.parametrize("as_query", [True, False])
async def test_the_header_wins_over_the_query(stream_fleet: StreamFleet, as_query: bool) -> None:
    job_id = await stream_fleet.driver.submit()
    await stream_fleet.driver.finish(job_id)
    url, seen = stream_fleet.stream_url(job_id), Seen(last_id=None if as_query else "4")

    await read_until(f"{url}?last_event_id={4 if as_query else 1}", seen, lambda _frame: False)

    assert seen.ids == ["5", "6"]


@pytest.mark.parametrize("last_id", ["999", "-1", "garbage", "1.abc", "9" * 100])
async def test_an_id_that_means_nothing_here_is_answered_with_a_snapshot(
    stream_fleet: StreamFleet, last_id: str
) -> None:
    job_id = await stream_fleet.driver.submit()
    async with connected(stream_fleet.stream_url(job_id), last_id) as (response, frames):
        named = [frame.event async for frame, _ in _zip_two(frames)]

    assert response.status_code == 200
    assert named[-1] == "snapshot"


async def _zip_two(frames):
    for number in range(2):
        yield await anext(frames), number


async def test_the_end_of_a_job_ends_its_stream_and_stops_reconnecting(stream_fleet: StreamFleet) -> None:
    job_id = await stream_fleet.driver.submit()
    await stream_fleet.driver.finish(job_id)
    url, seen = stream_fleet.stream_url(job_id), Seen()

    await read_until(url, seen, lambda _frame: False)
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as http:
        again = await http.get(url, headers={"Last-Event-ID": seen.last_id or ""})

    assert [frame.event for frame in seen.frames if frame.event] == ["snapshot", "job.succeeded"]
    assert (again.status_code, again.content) == (204, b"")


async def test_a_killed_subscription_costs_nothing_not_even_before_the_end(
    stream_fleet: StreamFleet, redis_client: Redis
) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit()
    following = await after_snapshot(stream_fleet, job_id, seen)
    await redis_client.client_kill_filter(_type="pubsub")
    await driver.succeed(await driver.claim(job_id))
    last = await driver.claim(job_id)
    await redis_client.client_kill_filter(_type="pubsub")
    await driver.succeed(last)

    await asyncio.wait_for(following, BOUND_S)

    assert is_whole(seen, job_id)


async def test_a_terminal_event_that_was_never_published_arrives_with_the_heartbeat(stream_fleet: StreamFleet) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit()
    following = await after_snapshot(stream_fleet, job_id, seen)
    # A process that dies between its commit and its publication leaves exactly this.
    silent = open_database(driver.services.settings)
    async with silent.write() as uow:
        job = await find_job_locked(uow.session, job_id)
        assert job is not None
        await end_job(uow, job, JobState.CANCELED, error=None, stop_reason=None)
    await silent.close()

    await asyncio.wait_for(following, BOUND_S)

    assert seen.last_event.event == "job.canceled"
    assert is_whole(seen, job_id)


async def test_a_flush_of_redis_in_mid_stream_loses_no_durable_event(
    stream_fleet: StreamFleet, redis_client: Redis
) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit()
    following = await after_snapshot(stream_fleet, job_id, seen)
    claimed = await driver.claim(job_id)
    await driver.progress(claimed, 5, 0.2)
    await redis_client.flushall()
    await driver.succeed(claimed)
    await driver.succeed(await driver.claim(job_id))

    await asyncio.wait_for(following, BOUND_S)

    assert is_whole(seen, job_id)


async def test_a_worker_that_vanishes_ends_the_stream_with_a_failure(stream_fleet: StreamFleet) -> None:
    """It renews nothing any more; the lease reaper of either replica sees the lease run out."""
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit()
    following = await after_snapshot(stream_fleet, job_id, seen)
    await driver.claim(job_id, lease_s=1)

    await asyncio.wait_for(following, 1 + BOUND_S)

    assert seen.last_event.event == "job.failed"
    assert seen.last_event.data["error"]["code"] == "WORKER_LOST"
    assert is_whole(seen, job_id)


async def test_a_killed_replica_s_streams_go_on_at_the_other(stream_fleet: StreamFleet) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit("one", "two")
    following = asyncio.create_task(until_ended(stream_fleet, job_id, seen))
    first = await driver.claim(job_id)
    await driver.progress(first, 1, 0.1)
    await until(lambda: bool(seen.frames))

    stream_fleet.replicas[0].end(signal.SIGKILL)
    await driver.succeed(first)
    await driver.finish(job_id)
    await asyncio.wait_for(following, TIMEOUT_S)

    assert is_whole(seen, job_id)


@pytest.mark.parametrize("path", ["jobs/{}/events", "events"])
async def test_who_comes_back_at_another_replica_sees_where_the_job_is_at_once_and_not_less_than_before(
    stream_fleet: StreamFleet, path: str
) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit("one", "two")
    urls = [f"{replica.url}/v1/{path.format(job_id)}" for replica in stream_fleet.replicas]
    first = await driver.claim(job_id)
    await driver.progress(first, 10, 0.6)
    before = asyncio.create_task(read_until(urls[0], seen, lambda frame: frame.event == "clip.succeeded"))
    await until(lambda: any(frame.data.get("job_id") == job_id for frame in seen.frames))
    await driver.succeed(first)
    await asyncio.wait_for(before, TIMEOUT_S)
    # Its worker knows nothing of the other clip.
    await driver.progress(await driver.claim(job_id), 3, 0.1)

    async with asyncio.timeout(TIMEOUT_S):
        await read_until(urls[1], seen, lambda frame: frame.event == "clip.progress")

    assert (seen.frames[-1].data["step"], seen.frames[-1].data["job_progress"]) == (3, 0.6)
    assert seen.went_back == []


async def test_what_sql_shows_of_a_job_is_not_taken_back_by_those_who_do_not_know_it(stream_fleet: StreamFleet) -> None:
    """A clip that is done counts in a snapshot before any worker has told of it."""
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit("one", "two")
    await driver.succeed(await driver.claim(job_id))
    await read_until(stream_fleet.stream_url(job_id), seen, lambda frame: frame.event == "snapshot")
    await driver.progress(await driver.claim(job_id), 1, 0.025)
    seen.last_id = "4"

    await read_until(stream_fleet.stream_url(job_id, 1), seen, lambda frame: frame.event == "clip.progress")

    assert seen.frames[-1].data["job_progress"] == pytest.approx(0.475)
    assert seen.went_back == []


async def test_a_flush_of_redis_takes_no_progress_back_where_the_job_was_followed(
    stream_fleet: StreamFleet, redis_client: Redis
) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit()
    claimed = await driver.claim(job_id)
    following = await after_snapshot(stream_fleet, job_id, seen)
    await driver.progress(claimed, 9, 0.5)
    # A heartbeat may come with it.
    await until(lambda: any(frame.event == "clip.progress" for frame in seen.frames))
    following.cancel()
    await redis_client.flushall()

    await read_until(stream_fleet.stream_url(job_id), seen, lambda frame: frame.event == "snapshot")

    assert seen.frames[-1].data["job"]["progress"] == 0.5
    assert seen.frames[-1].data["job"]["clips"][0]["step"] == 9


@pytest.mark.parametrize("path", ["jobs/{}/events", "events"])
async def test_who_moves_to_a_replica_that_knows_nothing_when_redis_is_emptied_sees_nothing_go_back(
    stream_fleet: StreamFleet, redis_client: Redis, path: str
) -> None:
    """Neither a resumed stream, nor a new one, nor one that first gets a message from before the flush."""
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit("one", "two")
    urls = [f"{replica.url}/v1/{path.format(job_id)}" for replica in stream_fleet.replicas]
    before = asyncio.create_task(read_until(urls[0], seen, lambda frame: frame.event == "clip.progress"))
    await until(lambda: any(frame.event == "snapshot" for frame in seen.frames))
    claimed = await driver.claim(job_id)
    await driver.progress(claimed, 18, 0.4)
    await asyncio.wait_for(before, TIMEOUT_S)

    await redis_client.flushall()
    fresh = Seen(progress=dict(seen.progress))
    is_of_job: Callable[[Frame], bool] = lambda frame: frame.data.get("job_id") == job_id  # noqa: E731
    await asyncio.wait_for(read_until(urls[1], fresh, is_of_job), TIMEOUT_S)
    resumed = asyncio.create_task(read_until(urls[1], seen, lambda frame: frame.data.get("step") == 20))
    async with asyncio.timeout(TIMEOUT_S):
        while not resumed.done():
            await driver.deliver_late(claimed, 5, 0.1)
            await asyncio.wait([resumed], timeout=0.05)
            await driver.progress(claimed, 20, 0.45)

    assert (fresh.frames[-1].event, seen.frames[-1].data["job_progress"]) == ("snapshot", 0.45)
    assert fresh.went_back == seen.went_back == []


async def test_a_poll_of_a_replica_that_knows_nothing_shows_no_less_after_redis_was_emptied(
    stream_fleet: StreamFleet, redis_client: Redis
) -> None:
    driver = stream_fleet.driver
    job_id = await driver.submit("one", "two")
    claimed = await driver.claim(job_id)
    await driver.progress(claimed, 18, 0.4)
    await redis_client.flushall()

    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as http:
        job = (await http.get(f"{stream_fleet.replicas[1].url}/v1/jobs/{job_id}")).json()

    assert (job["progress"], job["clips"][0]["progress"], job["clips"][0]["step"]) == (0.4, 0.9, 18)


async def test_the_next_attempt_takes_no_job_progress_back_after_redis_was_emptied(
    stream_fleet: StreamFleet, redis_client: Redis
) -> None:
    driver = stream_fleet.driver
    job_id = await driver.submit()
    claimed = await driver.claim(job_id)
    await driver.progress(claimed, 18, 0.8)
    await driver.hand_back(claimed)
    await redis_client.flushall()

    again = await driver.claim(job_id)

    assert (again.attempt, again.job_progress) == (2, 0.8)


@pytest.mark.timeout(400 + CUTS)
async def test_disconnects_over_two_replicas_lose_and_repeat_nothing_and_take_nothing_back(
    stream_fleet: StreamFleet,
) -> None:
    driver, cuts = stream_fleet.driver, Cuts(CUTS)
    jobs = [await driver.submit("one", "two") for _ in range(20)]
    views, everything = {job_id: Seen() for job_id in jobs}, Seen()

    def one(job_id: str) -> str:
        return stream_fleet.stream_url(job_id, random.randrange(2))

    def all_of_them() -> str:
        return f"{random.choice(stream_fleet.replicas).url}/v1/events"

    async with asyncio.timeout(300 + CUTS / 2), asyncio.TaskGroup() as clients:
        for job_id, seen in views.items():
            clients.create_task(follow_with_cuts(partial(one, job_id), seen, partial(_is_over, seen, job_id), cuts))
        clients.create_task(follow_with_cuts(all_of_them, everything, lambda: everything.ended >= set(jobs), cuts))
        clients.create_task(_work_until(cuts.enough, driver, jobs))

    assert all(is_whole(seen, job_id) for job_id, seen in views.items())
    assert [line for seen in (*views.values(), everything) for line in seen.went_back] == []
    assert all(is_whole(everything, job_id) for job_id in jobs)
    assert len(everything.ids) == len(set(everything.ids))


def _is_over(seen: Seen, job_id: str) -> bool:
    return job_id in seen.ended


async def _work_until(enough: asyncio.Event, driver: Driver, jobs: list[str]) -> None:
    """Some fifty events a second in all; workers know different shares of a job, and hand clips back in between."""

    # More of them at once would wait for a connection to the database, and on a busy machine for too long.
    turn = asyncio.Semaphore(4)

    async def work(job_id: str) -> None:
        while not enough.is_set():
            async with turn:
                claimed = await driver.claim(job_id)
            for step in range(1, 4):
                async with turn:
                    await driver.progress(claimed, step, random.uniform(0, 0.4))
                await asyncio.sleep(random.uniform(0, 2 * _PAUSE_S))
            async with turn:
                await driver.hand_back(claimed)
        async with turn:
            await driver.finish(job_id, clips=2)

    await asyncio.gather(*(work(job_id) for job_id in jobs))


async def end_with_500_open_streams(fleet: StreamFleet) -> list[str]:
    """What each stream still sent. The replica has ended long before it would cut them off."""
    job_id = await fleet.driver.submit()
    host, port = fleet.replicas[0].url.removeprefix("http://").split(":")
    request = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    async def open_stream() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await reader.readuntil(b"snapshot")
        return reader, writer

    streams = [await open_stream() for _ in range(500)]
    deaf = open_unread(fleet.replicas[0].url, f"/v1/jobs/{job_id}/events")
    fleet.replicas[0].end(signal.SIGTERM)
    rests = [(await reader.read()).decode() for reader, _ in streams]
    deaf.close()
    for _, writer in streams:
        writer.close()
    return rests


async def test_sigterm_with_500_open_streams_ends_before_its_grace(stream_fleet: StreamFleet) -> None:
    rests = await end_with_500_open_streams(stream_fleet)

    retries = {int(retry) for rest in rests for retry in re.findall(r"retry: (\d+)", rest)}
    assert all(re.findall(r"retry: (\d+)", rest) for rest in rests)
    # Spread over as long again as the retry itself; 2 s and 4 s with the defaults.
    assert max(retries) - min(retries) > 0.8 * 200
    assert "Traceback" not in stream_fleet.log.read_text()


async def test_a_client_that_never_reads_is_dropped_and_costs_the_others_nothing(stream_fleet: StreamFleet) -> None:
    driver, seen = stream_fleet.driver, Seen()
    job_id = await driver.submit()
    path = f"/v1/jobs/{job_id}/events"
    deaf = [open_unread(stream_fleet.replicas[0].url, path) for _ in range(20)]
    following = await after_snapshot(stream_fleet, job_id, seen)
    claimed = await driver.claim(job_id)
    replica = psutil.Process(stream_fleet.replicas[0].pid)

    async with asyncio.timeout(TIMEOUT_S):
        while len(_established(replica)) > 1:
            await driver.preview(claimed, size_bytes=300_000)
            await asyncio.sleep(0.1)
    following.cancel()

    assert "Traceback" not in stream_fleet.log.read_text()
    for client in deaf:
        client.close()


def _established(process: psutil.Process) -> list[object]:
    port = process.net_connections("tcp")
    listening = {found.laddr.port for found in port if found.status == psutil.CONN_LISTEN}
    return [found for found in port if found.status == psutil.CONN_ESTABLISHED and found.laddr.port in listening]


async def test_a_thousand_connections_leave_nothing_behind(stream_fleet: StreamFleet, redis_client: Redis) -> None:
    job_id = await stream_fleet.driver.submit()
    replica = psutil.Process(stream_fleet.replicas[0].pid)
    url = stream_fleet.stream_url(job_id)
    await read_until(url, Seen(), lambda frame: frame.event == "snapshot")
    before = replica.num_fds()

    async def come_and_go() -> None:
        for _ in range(50):
            await read_until(url, Seen(), lambda frame: frame.event == "snapshot")

    await asyncio.gather(*(come_and_go() for _ in range(20)))
    async with asyncio.timeout(TIMEOUT_S):
        channel = f"phoenix:job:{job_id}"
        while dict(await redis_client.pubsub_numsub(channel))[channel.encode()]:  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.05)
        while replica.num_fds() > before + 3:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


async def subscribers_of_both(redis: Redis) -> list[str]:
    """Connections that listen, once each replica has one: it makes another if the machine stood still."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            found = [client["id"] for client in await redis.client_list() if int(client["sub"]) > 0]
            if len(found) == 2:
                return found
            await asyncio.sleep(0.05)


async def test_many_streams_need_no_more_connections_to_redis_than_one(
    stream_fleet: StreamFleet, redis_client: Redis
) -> None:
    jobs = [await stream_fleet.driver.submit() for _ in range(40)]
    subscribed = await subscribers_of_both(redis_client)

    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(after_snapshot(stream_fleet, job_id, Seen())) for job_id in jobs]
    after = await subscribers_of_both(redis_client)
    port = (await redis_client.info("server"))["tcp_port"]
    held = psutil.Process(stream_fleet.replicas[0].pid).net_connections("tcp")
    for task in following:
        task.result().cancel()

    assert len(after) == len(subscribed)
    # As many as the pool for commands may hold, and that of the subscriptions.
    assert sum(bool(each.raddr) and each.raddr.port == port for each in held) <= 9


async def test_head_on_a_stream_answers_at_once(stream_fleet: StreamFleet) -> None:
    job_id = await stream_fleet.driver.submit()
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as http:
        response = await asyncio.wait_for(http.head(stream_fleet.stream_url(job_id)), TIMEOUT_S)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_two_jobs_on_one_stream_both_go_on_and_one_id_resumes_both(stream_fleet: StreamFleet) -> None:
    driver, seen = stream_fleet.driver, Seen()
    one, two = await driver.submit(), await driver.submit()
    url = f"{stream_fleet.replicas[0].url}/v1/events"
    await read_until(url, seen, lambda frame: frame.id is not None)
    first, second = await driver.claim(one), await driver.claim(two)
    await driver.succeed(first)
    await driver.succeed(second)

    await read_until(url, seen, lambda frame: frame.event == "clip.succeeded" and frame.data["job_id"] == one)
    for job_id in (two, one):
        await driver.succeed(await driver.claim(job_id))
    await read_until(url, seen, lambda _frame: seen.ended == {one, two})

    assert is_whole(seen, one)
    assert is_whole(seen, two)
    assert all(ID.fullmatch(event_id) for event_id in seen.ids)
    assert all(int(before.split(".")[0]) < int(after.split(".")[0]) for before, after in pairwise(seen.ids))
