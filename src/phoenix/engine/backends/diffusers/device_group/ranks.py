"""A rank: the child process that computes on one further device of the worker, as the worker sees it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from phoenix.child_processes import tied
from phoenix.engine.backends.diffusers.device_group.messages import Channel, Message, read_failure
from phoenix.errors import FailureCode, Stage, TaskFailed

POLL_S = 0.1
"""How often a wait for a rank looks for a stop."""


class RankLost(TaskFailed):
    """A rank ended, or did not answer in time. Another attempt starts it again."""


def _lost(detail: str) -> RankLost:
    return RankLost(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE, retriable=True)


class Rank:
    """A process and the channel to it. It ends with this process. One thread at a time may use it.

    `on_end` is called in a thread of the rank when its process has ended.
    """

    def __init__(self, device: str, *, on_end: Callable[[], None], limit_s: float) -> None:
        self.device = device
        self.loaded: set[str] = set()
        """The keys of the models that it has in memory."""
        self._limit_s = limit_s
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._has_ended, self._is_unwanted = threading.Event(), False
        self._channel, theirs = Channel.pair()
        started = threading.Event()
        # The kernel ends a tied process with the thread that started it, so that thread waits for the process.
        self._watch = threading.Thread(target=self._run, args=(theirs, started, on_end), name=f"rank {device}")
        self._watch.daemon = True
        self._watch.start()
        started.wait()

    @property
    def is_alive(self) -> bool:
        return not self._has_ended.is_set()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, command: str, **values: Any) -> int:
        """Sends a command. Returns its number, with which `wait_for` finds the answer. Raises `RankLost`."""
        self._number += 1
        try:
            self._channel.send({"command": command, "number": self._number, **values})
        except OSError:
            raise self._describe_end() from None
        return self._number

    def wait_for(self, number: int, check: Callable[[], None]) -> Message:
        """Waits for the answer to a command, and drops those to earlier commands. `check` may end the wait.

        Raises `RankLost`, the `TaskFailed` of the rank, or what `check` raises.
        """
        until_s = time.monotonic() + self._limit_s
        while True:
            while not self._channel.has_message(POLL_S):
                check()
                if time.monotonic() > until_s:
                    raise _lost(f"device {self.device} did not answer within {self._limit_s:.0f} s")
            try:
                answer = self._channel.receive()
            except (EOFError, OSError):
                raise self._describe_end() from None
            if answer["number"] == number:
                if "failure" in answer:
                    raise read_failure(answer["failure"], device=self.device)
                return answer

    def find_failure(self) -> TaskFailed | None:
        """Returns why a rank ended that took part in a failed computation; None if it has not said so."""
        with suppress(EOFError, OSError):
            while self._channel.has_message(POLL_S):
                answer = self._channel.receive()
                if "failure" in answer:
                    return read_failure(answer["failure"], device=self.device)
            return None
        return self._describe_end()

    def stop(self) -> None:
        """Ends the process: it has nothing to save."""
        self._is_unwanted = True
        if self._process is not None:
            self._process.kill()
        self._watch.join(timeout=self._limit_s)
        self._channel.close()

    def _describe_end(self) -> RankLost:
        # Its socket closes a moment before the process has a status.
        self._watch.join(timeout=1)
        if self._process is None:
            return _lost(f"the process for device {self.device} could not be started")
        return _lost(f"the process for device {self.device} ended with status {self._process.returncode}")

    def _run(self, theirs: socket.socket, started: threading.Event, on_end: Callable[[], None]) -> None:
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
                    tied([sys.executable, "-m", str(__package__), str(theirs.fileno())]),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Every file is here already: the worker fetched it for its own load.
                    env={**os.environ, "HF_HUB_OFFLINE": "1"},
                    start_new_session=True,
                )
            except (OSError, subprocess.SubprocessError):
                self._has_ended.set()
                return
            finally:
                started.set()
        self._process.wait()
        self._has_ended.set()
        if not self._is_unwanted:
            on_end()
