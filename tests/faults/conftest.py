"""The cluster of a module, whole and idle before and after each test. Each module has its own fixture `running`."""

from collections.abc import Iterator

import pytest

from faults.checker import check_ended, describe
from faults.cluster import Cluster


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    """Judged when the test is over."""
    running.heal()
    running.wait_until_ready()
    yield running
    running.heal()
    running.wait_until_all_ended(60)
    findings = check_ended(running.history(frozenset()))
    assert not findings, describe(findings)
