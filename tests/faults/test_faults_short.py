"""Faults from one seed: nothing that was accepted is lost, stuck or done twice. `make faults` runs more of them."""

from collections.abc import Iterator, Mapping

import pytest

from faults.chaos import run_chaos, upload_sounds
from faults.checker import describe
from faults.cluster import Cluster, run_cluster
from faults.sound import write_tone

DURATION_S = 15


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.add_fleet()
        yield running


@pytest.fixture(scope="module")
def sounds(cluster: Cluster) -> Mapping[str, str]:
    return upload_sounds(cluster, write_tone(cluster.folder / "tone.wav"))


@pytest.mark.parametrize("seed", [1])
def test_nothing_accepted_is_lost_stuck_or_done_twice(cluster: Cluster, sounds: Mapping[str, str], seed: int) -> None:
    cluster.heal()
    cluster.wait_until_ready()

    report = run_chaos(cluster, seed, duration_s=DURATION_S, sounds=sounds)

    assert not report.findings, describe(report.findings)
    # Far fewer than there are on any machine: a run in which nothing happened proves nothing.
    assert len(report.accepted) >= 5
    assert report.faults.total() >= 5
    assert min(report.edits, report.held, report.segments) >= 1
