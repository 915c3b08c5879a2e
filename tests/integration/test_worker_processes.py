"""Child processes end with their parent, and on request."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fixtures import child_processes
from phoenix.child_processes import LIFELINE_VARIABLE, spawn, stop_process

TIMEOUT_S = 300
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

PARENT = """
import asyncio, os, sys
from phoenix.child_processes import spawn
async def main():
    child = await spawn([sys.executable, "-c", sys.argv[1]], env=os.environ)
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""
SLEEPS = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
FOLLOWS = """
import os, sys, time
from phoenix.child_processes import follow_lifeline
follow_lifeline(lambda: os._exit(7))
os.write(int(sys.argv[1]), b"x")
time.sleep(600)
"""


async def ended(pid: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            while True:
                if process.status() == psutil.STATUS_ZOMBIE:
                    return
                await asyncio.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does this on Linux only")
async def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    parent = await child_processes.start_async(
        *(sys.executable, "-c", PARENT, SLEEPS), env=ENV, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        child_pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await ended(child_pid)


async def test_a_child_notices_by_its_lifeline_that_its_parent_is_gone() -> None:
    read_fd, write_fd = os.pipe()
    ready_fd, tell_fd = os.pipe()
    child = await child_processes.start_async(
        *(sys.executable, "-c", FOLLOWS, str(tell_fd)),
        env={**ENV, LIFELINE_VARIABLE: str(read_fd)},
        pass_fds=(read_fd, tell_fd),
    )
    os.close(read_fd)
    assert await asyncio.to_thread(os.read, ready_fd, 1) == b"x"
    # As the kernel does for a parent that ends.
    os.close(write_fd)
    async with asyncio.timeout(TIMEOUT_S):
        assert await child.wait() == 7
    os.close(ready_fd)
    os.close(tell_fd)


async def test_a_child_ends_when_it_is_asked_to() -> None:
    child = await spawn([sys.executable, "-c", SLEEPS], env=ENV)
    assert await stop_process(child, grace_s=TIMEOUT_S) == -signal.SIGTERM


async def test_a_child_that_does_not_listen_is_killed_after_its_grace() -> None:
    child = await spawn([sys.executable, "-c", STUBBORN], env=ENV)
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if signal.SIGTERM in ignored_signals(child.pid):
                break
            await asyncio.sleep(0.02)
    assert await stop_process(child, grace_s=0.1) == -signal.SIGKILL


async def test_stopping_what_has_ended_returns_its_status() -> None:
    child = await spawn([sys.executable, "-c", "raise SystemExit(3)"], env=ENV)
    await child.wait()
    assert await stop_process(child, grace_s=1) == 3


def ignored_signals(pid: int) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn"))
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}
