"""One fault at a time, on real processes, with the bound within which work goes on."""

from collections.abc import Iterator

import pytest
from redis import Redis

from faults.cluster import LONG_LEASE, Cluster, run_cluster, wait_until
from faults.stories import assert_once_within, attempts_of, is_done, is_rendering
from phoenix.contract import JobState
from phoenix.errors import FailureCode
from phoenix.jobs.lifecycle import AttemptEndState
from phoenix.settings import SchedulerSettings

LONG = 60
"""Steps of a clip that takes six seconds: time for a busy machine to break something before its end."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add_api()
        cluster.add_worker(SABOTAGE="poison", **LONG_LEASE)
        cluster.add_worker(SABOTAGE="poison", **LONG_LEASE)
        cluster.add_worker("media", **LONG_LEASE)
        cluster.wait_until_ready()
        yield cluster


def test_the_clip_of_a_killed_worker_process_runs_again_within_2_s(cluster: Cluster) -> None:
    def kill_one() -> float:
        cluster.wait_until_all_ended(60)
        job_id = cluster.submit(steps=LONG)
        story = cluster.wait_for(job_id, is_rendering)

        cluster.holder(attempts_of(story)[0].worker_id).kill_child()

        took_s = wait_until(lambda: is_rendering(cluster.story_of(job_id), attempt=2), 60)
        assert attempts_of(cluster.story_of(job_id))[0].outcome is AttemptEndState.CRASHED
        return took_s

    assert_once_within(2, kill_one)


def test_a_frozen_worker_changes_nothing_when_it_wakes_up(cluster: Cluster) -> None:
    job_id = cluster.submit(steps=LONG)
    story = cluster.wait_for(job_id, is_rendering)
    frozen = cluster.holder(attempts_of(story)[0].worker_id)

    frozen.freeze()
    cluster.wait_for(job_id, is_done)
    before = attempts_of(cluster.story_of(job_id))
    frozen.thaw()

    cluster.wait_for(cluster.submit("a", "b", "c"), is_done)
    after = attempts_of(cluster.story_of(job_id))
    assert [attempt.outcome for attempt in after] == [AttemptEndState.CRASHED, AttemptEndState.SUCCEEDED]
    assert [attempt.model_dump() for attempt in after] == [attempt.model_dump() for attempt in before]


def test_a_clip_that_kills_its_workers_is_given_up_after_the_third(cluster: Cluster) -> None:
    job_id = cluster.submit("poison")
    other = cluster.submit("an innocent clip")

    story = cluster.wait_for(job_id, lambda story: story.row.state.is_terminal)

    assert (story.row.state, (story.row.error or {})["code"]) == (JobState.FAILED, FailureCode.WORKER_LOST)
    assert [attempt.outcome for attempt in attempts_of(story)] == [AttemptEndState.CRASHED] * 3
    cluster.wait_for(other, is_done)


def test_a_reel_that_awaits_its_approval_survives_the_loss_of_every_process(cluster: Cluster) -> None:
    job_id = cluster.submit(hold="draft")
    asked = cluster.wait_for(job_id, lambda story: "job.awaiting_approval" in [each.type for each in story.events])

    for member in cluster.members:
        member.kill()
    cluster.heal()
    cluster.wait_until_ready()

    assert cluster.story_of(job_id).row.model_dump() == asked.row.model_dump()
    answer = cluster.ask("POST", f"/v1/jobs/{job_id}/approve")
    assert answer.status_code == 202, answer.text
    story = cluster.wait_for(job_id, is_done)
    assert [attempt.outcome for attempt in attempts_of(story)] == [AttemptEndState.SUCCEEDED]


def test_a_job_that_is_accepted_while_redis_is_down_starts_when_it_is_back(cluster: Cluster) -> None:
    def lose_redis() -> float:
        cluster.redis.kill()
        job_id = cluster.submit()
        assert cluster.story_of(job_id).row.state is JobState.QUEUED

        cluster.redis.start()

        took_s = wait_until(lambda: cluster.story_of(job_id).row.state is not JobState.QUEUED, 60)
        cluster.wait_for(job_id, is_done)
        return took_s

    assert_once_within(8, lose_redis)


def test_no_job_is_accepted_while_the_database_is_down(cluster: Cluster) -> None:
    cluster.postgres.crash()

    answer = cluster.http.post(f"{cluster.url()}/v1/reels", json={"clips": [{"prompt": "a"}]})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    cluster.postgres.ensure_running()
    wait_until(lambda: cluster.answers(0), 100)
    cluster.wait_for(cluster.submit(), is_done)


def test_a_database_that_is_cut_off_in_mid_clip_costs_no_second_render(cluster: Cluster) -> None:
    job_id = cluster.submit(steps=LONG)
    cluster.wait_for(job_id, is_rendering)

    cluster.proxies["worker-postgres"].cut()

    assert len(attempts_of(cluster.wait_for(job_id, is_done))) == 1


def test_what_is_no_message_is_dropped_and_stops_nothing(cluster: Cluster) -> None:
    with Redis.from_url(cluster.redis.url) as redis:
        task = "task_01kag3e9zq4f7w5m8x2c6b0n1d:1"
        redis.zadd("phoenix:queue:gpu", {"garbage": 1, b"\xff\x00": 2, task: 3, "job_1:x": 4})
        redis.set(f"arq:job:{task}", b"\x80\x04cos\nsystem\n")
        redis.lpush("arq:job:garbage", "a list")

    cluster.wait_for(cluster.submit(), is_done)


def test_a_host_that_is_cut_off_loses_its_clip_to_another(cluster: Cluster) -> None:
    cluster.add_worker(**LONG_LEASE)

    def cut_one_off() -> float:
        cluster.heal()
        job_id = cluster.submit(steps=LONG)
        story = cluster.wait_for(job_id, is_rendering)

        cluster.holder(attempts_of(story)[0].worker_id).kill()

        story = cluster.wait_for(job_id, lambda story: is_rendering(story, attempt=2))
        ended_at, started_at = attempts_of(story)[0].ended_at, attempts_of(story)[1].started_at
        assert ended_at is not None
        return (started_at - ended_at).total_seconds()

    assert_once_within(2, cut_one_off)


def test_a_clip_of_a_lost_host_runs_again_within_15_s(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the leases and intervals that Phoenix comes with."""
    usual = {f"PHOENIX_SCHEDULER__{name.upper()}": str(value) for name, value in SchedulerSettings()}
    with run_cluster(tmp_path_factory.mktemp("usual")) as cluster:
        cluster.add_api(**usual)
        cluster.add_worker(**usual)
        cluster.add_worker(**usual)

        def lose_one() -> float:
            cluster.heal()
            cluster.wait_until_ready()
            job_id = cluster.submit(steps=1000)
            story = cluster.wait_for(job_id, is_rendering)

            cluster.holder(attempts_of(story)[0].worker_id).kill()

            took_s = wait_until(lambda: is_rendering(cluster.story_of(job_id), attempt=2), 100)
            cluster.ask("POST", f"/v1/jobs/{job_id}/cancel").raise_for_status()
            return took_s

        assert_once_within(15, lose_one)
