"""Children that the kernel ends with the process that started them."""

import os
import re
import signal
import subprocess
import sys
from select import select

import pytest

from fixtures import child_processes
from phoenix.child_processes import tied

# Prints the id of its child, and waits for it.
STARTER = """
import subprocess, sys
from phoenix.child_processes import tied
child = subprocess.Popen(tied(["sleep", "600"]), start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_ends_with_a_parent_that_is_killed() -> None:
    with child_processes.start([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        child = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()

    with os.fdopen(child, "rb", buffering=0, closefd=True):
        # The descriptor of a process is readable when the process has ended.
        assert select([child], [], [], 60)[0] == [child]


def test_a_child_is_the_program_itself() -> None:
    done = child_processes.run(
        tied([sys.executable, "-c", "import os, sys; print(os.getppid(), sys.argv[1:])", "-c", "ü"]),
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == f"{os.getpid()} ['-c', 'ü']"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_whose_parent_has_ended_before_does_nothing() -> None:
    command = tied(["echo", "done"])
    command[command.index(str(os.getpid()))] = "1"

    assert child_processes.run(command, check=False, capture_output=True).stdout == b""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is there only on Linux")
def test_a_child_ignores_no_signal_that_python_ignores() -> None:
    done = child_processes.run(tied(["cat", "/proc/self/status"]), check=True, capture_output=True, text=True)

    [ignored] = re.findall(r"SigIgn:\t([0-9a-f]+)", done.stdout)
    assert not int(ignored, 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        tied(["no-such-program"])
