"""Ctrl-C at a terminal: `phoenix generate` asks what is to become of the job."""

import os
import pty
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import select

import pytest

from fixtures.up_process import UpProcess
from phoenix.child_processes import die_with_parent
from phoenix.contract import JobState

CTRL_C = b"\x03"


class Terminal:
    """A program on a terminal of its own, and the keys pressed there."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            die_with_parent()
            os.chdir(folder)
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", **environment}
            os.execve(sys.executable, [sys.executable, "-m", "phoenix", *arguments], env)
        self._pid = pid
        self._shown = b""

    def wait_for(self, text: bytes) -> None:
        while text not in self._shown:
            self._shown += os.read(self._fd, 65536)

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def wait(self, *, pressing: bytes = b"") -> int:
        """The exit status. Presses the keys every now and then: Python's `input` misses a signal that comes just
        before it begins to wait, and a person would press again.
        """
        with suppress(OSError):
            # Read to the end: a program whose terminal is full does not end.
            while not select([self._fd], [], [], 0.5)[0] or os.read(self._fd, 65536):
                self.press(pressing)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@pytest.fixture(scope="module")
def slow_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    up = UpProcess(tmp_path_factory.mktemp("up"), PHOENIX_ANIMATIC__SECONDS_PER_STEP="0.3")
    try:
        up.wait_until_ready()
        yield up
    finally:
        up.close()


@pytest.mark.parametrize(
    ("answer", "state", "steps"),
    # A busy machine needs seconds to cancel the job, and a job that is not canceled is waited for.
    [(b"\n", JobState.CANCELED, 200), (b"n\n", JobState.SUCCEEDED, 12), (CTRL_C, JobState.SUCCEEDED, 12)],
)
def test_the_job_is_canceled_unless_it_is_wanted(
    slow_up: UpProcess, tmp_path: Path, answer: bytes, state: JobState, steps: int
):
    terminal = Terminal(tmp_path, "generate", "a red balloon", "--steps", str(steps), PHOENIX_URL=slow_up.url)
    terminal.wait_for(b"step 2/")
    terminal.press(CTRL_C)
    terminal.wait_for(b"Cancel the job?")
    terminal.press(answer)
    # A further Ctrl-C may find Python already on its way out; a shell shows both as 130.
    assert terminal.wait(pressing=answer if answer == CTRL_C else b"") in {130, -signal.SIGINT}
    with slow_up.client() as phoenix:
        job = phoenix.list_jobs(limit=1).data[0]
        list(phoenix.watch(job.id))
        assert phoenix.get_job(job.id).state is state
