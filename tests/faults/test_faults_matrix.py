"""More faults one at a time, on a fleet whose hosts disagree about the time by two hours. See docs/reliability.md."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from redis import Redis

from faults.cluster import Cluster, run_cluster, wait_until
from faults.stories import attempts_of, is_done, is_rendering
from fixtures.ports import free_port
from phoenix.contract import JobState
from phoenix.ids import new_task_id
from phoenix.jobs.lifecycle import AttemptEndState

LONG = 60
"""Steps of a clip that takes six seconds."""
GRACE_S = 100
"""Of a drain: as long as any wait of these tests."""
LEASE_S = 6
"""Long enough for a machine that stands still for seconds: an attempt that it costs would be one too many."""


@pytest.fixture(scope="module")
def webhook_url() -> str:
    """Nobody listens there: what counts is what is written down to be sent."""
    return f"http://127.0.0.1:{free_port()}/hook"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, webhook_url: str) -> Iterator[Cluster]:
    port = webhook_url.rsplit(":", 1)[1].removesuffix("/hook")
    patient = {
        "PHOENIX_WORKER__DRAIN_GRACE_S": str(GRACE_S),
        "PHOENIX_SCHEDULER__STALL_TIMEOUT_S": "4",
        "PHOENIX_SCHEDULER__LEASE_S": str(LEASE_S),
    }
    with run_cluster(tmp_path_factory.mktemp("matrix")) as cluster:
        cluster.add_api(
            SABOTAGE="hour-ahead",
            PHOENIX_WEBHOOKS__ALLOW_HTTP="true",
            PHOENIX_WEBHOOKS__ALLOW_PRIVATE="true",
            PHOENIX_WEBHOOKS__PORTS=f"[{port}]",
        )
        cluster.add_worker(SABOTAGE="hang hour-ahead", **patient)
        cluster.add_worker(SABOTAGE="hang hour-behind", **patient)
        cluster.add_worker("media", SABOTAGE="hour-behind")
        cluster.wait_until_ready()
        yield cluster


def slots_of(cluster: Cluster, worker_id: str) -> int:
    """As the worker has reported them: none once it has begun to drain."""
    return next(worker["slots"] for worker in cluster.get("/v1/workers")["data"] if worker["id"] == worker_id)


def test_a_host_whose_clock_is_wrong_keeps_its_leases(cluster: Cluster) -> None:
    kept: set[str] = set()
    # A wrong clock would cost every clip an attempt; a machine that stands still for five seconds costs one of them.
    for _ in range(3):
        # They take two leases.
        jobs = [cluster.submit(steps=2 * LONG) for _ in range(2)]
        attempts = [attempts_of(cluster.wait_for(job_id, is_done)) for job_id in jobs]
        kept |= {first.worker_id for first, *others in attempts if not others}
        if len(kept) == 2:
            break

    assert len(kept) == 2, "one ahead, and one behind"


def test_a_second_signal_hands_a_clip_back_long_before_the_grace_is_over(cluster: Cluster) -> None:
    job_id = cluster.submit(steps=2 * LONG)
    story = cluster.wait_for(job_id, is_rendering)
    holder = cluster.holder(attempts_of(story)[0].worker_id)
    assert holder.process is not None

    holder.terminate()
    wait_until(lambda: slots_of(cluster, attempts_of(story)[0].worker_id) == 0, GRACE_S)
    holder.terminate()

    assert holder.process.wait(timeout=GRACE_S) == 0
    story = cluster.wait_for(job_id, is_done)
    assert [attempt.outcome for attempt in attempts_of(story)] == [AttemptEndState.PREEMPTED, AttemptEndState.SUCCEEDED]
    assert story.tasks[0].row.crashes == 0
    assert attempts_of(story)[1].started_at >= attempts_of(story)[0].ended_at


def test_a_thread_that_hangs_ends_its_process_and_the_clip_runs_elsewhere(cluster: Cluster) -> None:
    job_id = cluster.submit("hang")
    story = cluster.wait_for(job_id, is_rendering)
    holder = cluster.holder(attempts_of(story)[0].worker_id)

    story = cluster.wait_for(job_id, is_done)

    assert [attempt.outcome for attempt in attempts_of(story)] == [AttemptEndState.CRASHED, AttemptEndState.SUCCEEDED]
    wait_until(lambda: '"status": 70' in holder.log.read_text(), 10 * LEASE_S)
    wait_until(lambda: len(holder.children()) == 1, 60)


def test_connections_to_redis_that_break_again_and_again_cost_no_slot(cluster: Cluster) -> None:
    jobs: list[str] = []
    for _ in range(8):
        jobs.append(cluster.submit(steps=1))
        cluster.proxies["worker-redis"].cut()
    for job_id in jobs:
        cluster.wait_for(job_id, is_done)

    both = [cluster.submit(steps=LONG) for _ in range(2)]

    wait_until(lambda: all(is_rendering(cluster.story_of(job_id)) for job_id in both), 60)


def test_a_redis_that_is_full_keeps_no_job_from_being_accepted(cluster: Cluster) -> None:
    with Redis.from_url(cluster.redis.url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            job_id = cluster.submit()
            wait_until(lambda: "background service stalled" in cluster.apis[0].log.read_text(), 60)
            assert cluster.story_of(job_id).row.state is JobState.QUEUED
        finally:
            redis.config_set("maxmemory", 0)

    cluster.wait_for(job_id, is_done)


def test_messages_that_are_answered_elsewhere_do_not_hide_the_next_one(cluster: Cluster) -> None:
    names = [f"{new_task_id()}:1" for _ in range(500)]
    with Redis.from_url(cluster.redis.url) as redis:
        redis.zadd("phoenix:queue:gpu", {name: number for number, name in enumerate(names, start=1)})
        for name in names:
            redis.set(f"arq:in-progress:{name}", b"1", ex=120)

        cluster.wait_for(cluster.submit(), is_done)

        assert redis.zcard("phoenix:queue:gpu") == len(names)
        redis.zrem("phoenix:queue:gpu", *names)


def test_a_job_whose_worker_dies_twice_is_reported_once(cluster: Cluster, webhook_url: str) -> None:
    job_id = cluster.submit(steps=LONG, webhook={"url": webhook_url})
    for number in (1, 2):
        story = cluster.wait_for(job_id, lambda story, number=number: is_rendering(story, number))
        cluster.holder(attempts_of(story)[number - 1].worker_id).kill_child()

    story = cluster.wait_for(job_id, is_done)

    assert [delivery.type for delivery in story.deliveries] == ["job.succeeded"]


def follow(url: str, events: list[dict[str, Any]]) -> None:
    """Collects a job's events until the stream ends or breaks off."""
    with suppress(httpx.HTTPError), httpx.stream("GET", url, timeout=100) as answer:
        events += [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


def test_a_stream_never_goes_back_within_an_attempt_and_ends_with_the_job(cluster: Cluster) -> None:
    events: list[dict[str, Any]] = []
    job_id = cluster.submit(steps=LONG)
    following = threading.Thread(target=follow, args=(f"{cluster.url()}/v1/jobs/{job_id}/events", events))
    following.start()
    story = cluster.wait_for(job_id, is_rendering)
    cluster.holder(attempts_of(story)[0].worker_id).kill_child()
    cluster.wait_for(job_id, is_done)
    following.join(timeout=100)

    steps = [(event["attempt"], event["progress"]) for event in events if event["type"] == "clip.progress"]
    assert events[-1]["type"] == "job.succeeded"
    assert max(attempt for attempt, _ in steps) >= 2
    assert steps == sorted(steps)
