"""The number of connections of a process."""

import resource
from collections.abc import Iterator

import pytest

from phoenix.api.server.connection_cap import SPARE_CONNECTIONS, Admission, ConnectionCap, fit_to_open_files
from phoenix.telemetry.meters import Meters


def test_a_few_connections_above_the_cap_are_spare_and_further_ones_refused() -> None:
    cap = ConnectionCap(2, Meters())

    admitted = [cap.enter() for _ in range(2 + SPARE_CONNECTIONS + 1)]

    assert admitted == [Admission.NORMAL] * 2 + [Admission.SPARE] * SPARE_CONNECTIONS + [Admission.REFUSED]


def test_without_a_cap_every_connection_is_accepted() -> None:
    cap = ConnectionCap(0, Meters())

    assert {cap.enter() for _ in range(1000)} == {Admission.NORMAL}


@pytest.fixture
def few_open_files() -> Iterator[int]:
    """The hard limit, while the soft limit is 1,000."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_on_open_files_is_raised_for_the_cap(few_open_files: int) -> None:
    assert few_open_files > 3000 or few_open_files == resource.RLIM_INFINITY
    assert fit_to_open_files(2000) == 2000
    assert 2000 < resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3000


def test_open_files_that_suffice_are_left_as_they_are(few_open_files: int) -> None:
    assert fit_to_open_files(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, few_open_files)
