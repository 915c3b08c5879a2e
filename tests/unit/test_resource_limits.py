"""Limits of a child process: set on a process that runs, and never above what the system allows."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fixtures import child_processes
from phoenix.child_processes import ResourceLimits

LIMITS = ResourceLimits(memory_bytes=10**9, file_bytes=10**6, cpu_s=1.2, open_files=64)


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    with child_processes.start(["/bin/cat"], stdin=subprocess.PIPE) as process:
        yield process


def test_part_of_a_second_counts_as_a_second() -> None:
    assert LIMITS.by_name["CPU"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_a_running_child_is_limited(child: "subprocess.Popen[bytes]") -> None:
    LIMITS.apply_to(child.pid)

    found = {name: resource.prlimit(child.pid, getattr(resource, f"RLIMIT_{name}")) for name in LIMITS.by_name}
    assert found == {name: (value, value) for name, value in LIMITS.by_name.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_a_lower_limit_of_the_system_stays(child: "subprocess.Popen[bytes]") -> None:
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (10, 10))

    LIMITS.apply_to(child.pid)

    assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE) == (10, 10)
    assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 64)


def test_a_child_that_has_ended_is_left_alone(child: "subprocess.Popen[bytes]") -> None:
    child.communicate()

    LIMITS.apply_to(child.pid)
