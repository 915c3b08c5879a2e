"""Starts child processes that end with their parent, limits what they may use, and stops them."""

import asyncio
import ctypes
import errno
import math
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

LIFELINE_VARIABLE = "PHOENIX_LIFELINE_FD"
"""In a child's environment: the descriptor of a pipe that closes when the parent ends."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None
_SIG_DFL = 0
# A parent that ended before the call of `prctl` sends no signal. Python ignores two signals that a program expects.
# The module `signal` would take longer to import than all the rest.
_TIE = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)})
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
for ignored in ({int(signal.SIGPIPE)}, {int(signal.SIGXFSZ)}):
    libc.signal(ignored, {_SIG_DFL})
os.execv(sys.argv[2], sys.argv[2:])
"""


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends. Only has an effect on Linux."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tied(argv: Sequence[str]) -> list[str]:
    """Returns the command that runs `argv` as a child that the kernel kills when the thread that started it ends.

    The thread counts, not its process: start children from a thread that outlives them. Only has an effect on Linux.
    Raises `OSError` if the program is not there. Costs about 15 ms of CPU time, before the program replaces it.

    A `preexec_fn` would cost less. But then Python forks, and a fork runs what C libraries have registered for it: the
    OpenBLAS of numpy can wait forever there while another thread computes. All of Python would wait with it.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    if sys.platform != "linux":
        return [program, *argv[1:]]
    return [sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid()), program, *argv[1:]]


def name_process(name: str) -> None:
    """What lists of processes show for this process: at most 15 bytes of `name`. Only has an effect on Linux."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


class Child(Protocol):
    """A child process, whether started or forked. `returncode`: its exit status, negative for a signal, or None."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class ResourceLimits:
    """What the kernel allows to one child process. No child writes a core dump.

    `cpu_s` counts the seconds of all threads together. `file_bytes` limits each file, not their sum.
    """

    memory_bytes: int
    file_bytes: int
    cpu_s: float
    open_files: int

    @property
    def by_name(self) -> dict[str, int]:
        """The values for `setrlimit`, by the names of its constants without RLIMIT_.

        Memory is limited by DATA, which counts what a process can write to. The address space also has reserves that
        nothing uses, 64 MB for each thread, and so it grows with the number of cores.
        """
        cpu_s = math.ceil(self.cpu_s)
        return {
            "DATA": self.memory_bytes,
            "FSIZE": self.file_bytes,
            "CPU": cpu_s,
            "NOFILE": self.open_files,
            "CORE": 0,
        }

    def apply_to(self, pid: int) -> None:
        """Limits a child that runs already. Only has an effect on Linux, and where the system allows it.

        The kernel counts what the child has used before the call too.
        """
        if sys.platform != "linux":
            return
        for name, value in self.by_name.items():
            kind: int = getattr(resource, f"RLIMIT_{name}")
            # ProcessLookupError: the child has ended. PermissionError: a sandbox forbids the call.
            with suppress(ProcessLookupError, PermissionError):
                _, allowed = resource.prlimit(pid, kind)
                lowest = value if allowed == resource.RLIM_INFINITY else min(value, allowed)
                resource.prlimit(pid, kind, (lowest, lowest))


async def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Starts a child, in a session of its own, that ends with this process. Call it from the main thread.

    On Linux the kernel ends the child; on other systems the child must call `follow_lifeline`.
    """
    read_fd = _lifeline.open()
    return await asyncio.create_subprocess_exec(
        *tied(argv),
        env={**env, LIFELINE_VARIABLE: str(read_fd)},
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(read_fd, *pass_fds),
        # Ctrl-C must reach only the parent: it stops its children in order.
        start_new_session=True,
    )


async def stop_process(process: Child, *, grace_s: float) -> int:
    """Sends SIGTERM to a child, and SIGKILL after `grace_s`. Returns its exit status, negative for a signal."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(grace_s):
            return await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def follow_lifeline(on_end: Callable[[], None]) -> bool:
    """In a child: starts a thread that calls `on_end` when the parent has ended.

    Returns False, without a thread, in a process that `spawn` did not start.
    """
    read_fd = os.environ.get(LIFELINE_VARIABLE)
    if read_fd is None:
        return False

    def wait_for_parent() -> None:
        # The parent never writes, so the read returns only when the last writer is gone.
        os.read(int(read_fd), 1)
        on_end()

    threading.Thread(target=wait_for_parent, name="lifeline", daemon=True).start()
    return True


class _Lifeline:
    """One pipe for all children of this process. Its write end closes when the process ends."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None

    def open(self) -> int:
        """The descriptor that children inherit."""
        if self._pipe is None:
            self._pipe = os.pipe()
        return self._pipe[0]


_lifeline = _Lifeline()


async def output_of(*argv: str) -> str:
    """What a program prints. The program ends with the command."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        output, _ = await process.communicate()
    finally:
        await stop_process(process, grace_s=0)
    return output.decode(errors="replace")
