"""A run of pytest that ends before its fixtures are torn down leaves no process behind."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY
from phoenix.worker.child_process import PROCESS_NAME

TIMEOUT_S = 250

INTERRUPTED = """
import signal
from fixtures import child_processes

def test_that_never_ends(postgres_server, fleet):
    child_processes.start(["sh", "-c", "sleep 600 & wait"])
    with open({ready!r}, "wb") as ready:
        ready.write(b"x")
    signal.pause()
"""

# Orphans of the run become children of this program (36 is PR_SET_CHILD_SUBREAPER), wherever they stand in the tree.
# It ends when it has no child left.
WATCHER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)
subprocess.Popen(sys.argv[1:])
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


@dataclass(frozen=True)
class Run:
    """A run of pytest that has started its servers, and the program that inherits its orphans."""

    watcher: subprocess.Popen[str]

    @property
    def pytest(self) -> psutil.Process:
        [process] = psutil.Process(self.watcher.pid).children()
        return process

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.watcher.pid).children(recursive=True)

    def wait_until_it_has(self, programs: set[str]) -> None:
        """The child of a worker starts after the worker, whenever that has been imported."""
        end_s = time.monotonic() + TIMEOUT_S
        while not names(self.processes()) >= programs:
            assert time.monotonic() < end_s, names(self.processes())
            time.sleep(0.1)

    def close(self) -> None:
        for process in [*self.processes(), self.watcher] if self.watcher.poll() is None else []:
            process.kill()
        self.watcher.wait()

    def wait_until_nothing_is_left(self) -> None:
        try:
            self.watcher.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pytest.fail("\n".join(" ".join(process.cmdline()) for process in self.processes()))


@contextmanager
def start_run(folder: Path, *options: str) -> Iterator[Run]:
    """Enters the block once the test of the run has its servers."""
    ready = folder / "ready"
    os.mkfifo(ready)
    # Open for both, the file has no end and no opening waits.
    ready_fd = os.open(ready, os.O_RDWR)
    test = folder / "test_interrupted.py"
    test.write_text(INTERRUPTED.format(ready=str(ready)))
    inner = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options]
    settings = ["-c", str(REPOSITORY / "pyproject.toml"), f"--basetemp={folder / 'inner'}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "tests"), *sys.path])}
    with (folder / "log").open("wb") as log:
        watcher = child_processes.start(
            [sys.executable, "-c", WATCHER, *inner, *settings, str(test)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    run = Run(watcher)
    try:
        readable, _, _ = select.select([ready_fd], [], [], TIMEOUT_S)
        assert readable, (folder / "log").read_text()
        yield run
    finally:
        os.close(ready_fd)
        run.close()


def names(processes: Sequence[psutil.Process]) -> set[str]:
    """Of the programs; of a Python program, the module that it runs; of a forked process, the name that it took."""
    commands: list[list[str]] = []
    taken: set[str] = set()
    for process in processes:
        # A process that helped to start another one may have ended.
        with suppress(psutil.NoSuchProcess):
            commands.append(process.cmdline())
            taken.add(process.name())
    modules = {command[command.index("-m") + 1] for command in commands if "-m" in command}
    # Redis and PostgreSQL write more than their name there.
    return taken | modules | {Path(command[0].split()[0]).name for command in commands if command and command[0]}


# It starts a whole fleet and a pytest, which takes a busy machine long.
@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has an heir for orphans other than init")
@pytest.mark.parametrize(
    ("number", "options"),
    # The kernel kills the process of pytest-xdist with its controller, so the last one covers its death as well.
    [(signal.SIGINT, []), (signal.SIGKILL, ["-n", "1"])],
    ids=["Ctrl-C", "killed with pytest-xdist"],
)
def test_a_run_that_is_ended_by_a_signal_leaves_no_process(
    number: signal.Signals, options: list[str], tmp_path: Path
) -> None:
    with start_run(tmp_path, *options) as run:
        run.wait_until_it_has({"redis-server", "postgres", "phoenix", PROCESS_NAME, "sleep"})
        run.pytest.send_signal(number)
        run.wait_until_nothing_is_left()
