"""Ties child processes to the life of their parent, and ends them. The callers decide which children there are."""

import asyncio
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

LIFELINE_VARIABLE = "PHOENIX_LIFELINE_FD"
"""In a child's environment: the descriptor of a pipe that ends when its parent does."""

_PR_SET_PDEATHSIG = 1
# Looked up at import: between fork and exec only async-signal-safe work is allowed, so no import and no dlopen.
_libc: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """As `preexec_fn`: the kernel kills the child when the thread that started it ends. Does nothing but on Linux.

    It is the thread, not the process, that counts: start children from a thread that outlives them.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Starts a child, in a session of its own, that must not outlive this process; call it from the main thread.

    On Linux the kernel sees to that; elsewhere the child must call `follow_lifeline`.
    """
    read_fd = _lifeline.open()
    return await asyncio.create_subprocess_exec(
        *argv,
        env={**env, LIFELINE_VARIABLE: str(read_fd)},
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(read_fd, *pass_fds),
        # Ctrl-C reaches the parent alone, which stops its children in order.
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


async def stop_process(process: asyncio.subprocess.Process, *, grace_s: float) -> int:
    """Asks a child to end, and kills it after `grace_s`. Returns its exit status, which is negative for a signal."""
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
    """In a child: calls `on_end`, from a thread of its own, when the parent has ended.

    Returns False in a process that was not started by `spawn`.
    """
    read_fd = os.environ.get(LIFELINE_VARIABLE)
    if read_fd is None:
        return False

    def wait_for_parent() -> None:
        # The parent never writes, so a read returns only when the last writer is gone.
        os.read(int(read_fd), 1)
        on_end()

    threading.Thread(target=wait_for_parent, name="lifeline", daemon=True).start()
    return True


class _Lifeline:
    """One pipe for all children of this process. The end that is written to closes with the process."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None

    def open(self) -> int:
        """The descriptor that children inherit."""
        if self._pipe is None:
            self._pipe = os.pipe()
        return self._pipe[0]


_lifeline = _Lifeline()
