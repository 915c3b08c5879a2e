"""The suite bites: with one safety taken out, the same checker finds what that safety prevents."""

from pathlib import Path

from faults.checker import check_ended
from faults.cluster import Cluster, run_cluster
from phoenix.contract import JobState
from phoenix.jobs.lifecycle import TaskState

LEASE_S = 3
"""Of a cluster's workers."""


def rules_broken(cluster: Cluster, job_id: str) -> set[str]:
    return {finding.rule for finding in check_ended(cluster.history(frozenset({job_id})))}


def wake_up_while_another_has_the_clip(cluster: Cluster, sabotage: str) -> set[str]:
    """A deaf worker is frozen for longer than its lease, and ends its clip while the one after it is at work."""
    cluster.add_api()
    deaf = cluster.add_worker(SABOTAGE=f"deaf {sabotage}")
    cluster.wait_until_ready()
    job_id = cluster.submit(steps=30)
    cluster.wait_for(job_id, lambda story: story.tasks[0].row.state is TaskState.RUNNING)
    deaf.freeze()
    cluster.add_worker("all", PHOENIX_ANIMATIC__SECONDS_PER_STEP="0.5")
    cluster.wait_for(job_id, lambda story: story.tasks[0].row.attempt == 2)
    deaf.thaw()
    cluster.wait_until_all_ended(60)
    return rules_broken(cluster, job_id)


def test_a_worker_that_ignores_its_lost_lease_is_fenced_off(tmp_path: Path) -> None:
    with run_cluster(tmp_path) as cluster:
        assert wake_up_while_another_has_the_clip(cluster, "") == set()


def test_without_the_fence_the_result_of_a_lost_attempt_is_published(tmp_path: Path) -> None:
    with run_cluster(tmp_path) as cluster:
        assert "results are of the winning attempt" in wake_up_while_another_has_the_clip(cluster, "fence")


def test_without_the_lease_reaper_the_job_of_a_lost_host_never_ends(tmp_path: Path) -> None:
    with run_cluster(tmp_path) as cluster:
        cluster.add_api(SABOTAGE="lease-reaper")
        lost = cluster.add_worker()
        cluster.wait_until_ready()
        job_id = cluster.submit(steps=30)
        cluster.wait_for(job_id, lambda story: story.tasks[0].row.state is TaskState.RUNNING)

        lost.kill()
        cluster.wait_until_all_ended(4 * LEASE_S)

        assert rules_broken(cluster, job_id) == {"every job ends"}


def test_without_the_repair_a_message_that_redis_lost_is_never_dispatched_again(tmp_path: Path) -> None:
    with run_cluster(tmp_path) as cluster:
        cluster.add_api(SABOTAGE="repair")
        worker = cluster.add_worker()
        cluster.wait_until_ready()
        worker.freeze()
        job_id = cluster.submit()
        cluster.wait_for(job_id, lambda story: story.tasks[0].row.dispatched_at is not None)

        cluster.flush_redis()
        worker.thaw()
        cluster.wait_until_all_ended(4 * LEASE_S)

        assert cluster.story_of(job_id).row.state is JobState.QUEUED
        assert rules_broken(cluster, job_id) == {"every job ends"}
