"""The fork server, in a program of its own: a process with threads, as the tests are, cannot fork safely."""

import os
import signal
import subprocess
import sys
import threading
from textwrap import dedent, indent

from fixtures import child_processes
from phoenix.child_processes.fork_server import start_fork_server

PROGRAM = """
import asyncio, os, signal, sys, time
from phoenix.child_processes.fork_server import ForkServerEnded, start_fork_server

def run(arguments):
    match arguments:
        case ["end", status]:
            return int(status)
        case ["show", *names]:
            print(*(os.environ.get(name) for name in names), flush=True)
        case ["describe"]:
            name = open("/proc/self/comm").read().strip()
            print(name, os.getsid(0) == os.getpid(), sys.stdin.read() == "", flush=True)
        case ["fail"]:
            raise ValueError("of the child")
        case ["sleep"]:
            time.sleep(300)
    return 0

server = start_fork_server(run, name="a-worker")

async def main():
{body}

asyncio.run(main())
server.close()
"""
TIMEOUT_S = 100


def run_program(body: str) -> list[str]:
    """The lines that a program prints which starts children in `body`."""
    script = PROGRAM.format(body=indent(dedent(body), "    "))
    done = child_processes.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "LEFT_BY_THE_PARENT": "1"},
    )
    return done.stdout.splitlines()


def test_each_child_ends_with_the_status_of_its_run() -> None:
    printed = run_program(
        """
        children = [await server.spawn(["end", str(status)], env={}) for status in range(3)]
        print(*[await child.wait() for child in children], *[child.returncode for child in children])
        """
    )

    assert printed == ["0 1 2 0 1 2"]


def test_a_child_has_the_environment_that_it_was_given_and_no_other() -> None:
    printed = run_program(
        """
        given = {"TEXT": "käse", "PHOENIX_LIFELINE_FD": "3"}
        await (await server.spawn(["show", "TEXT", "PHOENIX_LIFELINE_FD", "LEFT_BY_THE_PARENT"], env=given)).wait()
        """
    )

    assert printed == ["käse None None"]


def test_a_child_has_its_name_a_session_and_no_input() -> None:
    assert run_program("""await (await server.spawn(["describe"], env={})).wait()""") == ["a-worker True True"]


def test_a_child_that_raises_ends_with_status_1_and_the_next_one_starts() -> None:
    printed = run_program(
        """
        print(await (await server.spawn(["fail"], env={})).wait())
        print(await (await server.spawn(["end", "7"], env={})).wait())
        """
    )

    assert printed == ["1", "7"]


def test_a_killed_child_ends_with_its_signal_and_cannot_be_killed_again() -> None:
    printed = run_program(
        """
        child = await server.spawn(["sleep"], env={})
        print(child.returncode)
        child.terminate()
        print(await child.wait())
        try:
            child.kill()
        except ProcessLookupError:
            print("gone")
        """
    )

    assert printed == ["None", str(-signal.SIGTERM), "gone"]


def test_a_killed_server_takes_its_children_with_it_and_starts_no_more() -> None:
    printed = run_program(
        """
        child = await server.spawn(["sleep"], env={})
        os.kill(server.pid, signal.SIGKILL)
        print(await child.wait())
        try:
            await server.spawn(["sleep"], env={})
        except ForkServerEnded:
            print("ended")
        """
    )

    assert printed == [str(-signal.SIGKILL), "ended"]


def test_a_child_whose_start_was_cancelled_is_killed() -> None:
    printed = run_program(
        """
        starting = asyncio.create_task(server.spawn(["sleep"], env={}))
        await asyncio.sleep(0)
        starting.cancel()
        await (await server.spawn(["end", "0"], env={})).wait()
        for child in server.children:
            await child.wait()
        print(*server.children, "none is left")
        """
    )

    assert printed == ["none is left"]


def test_the_children_of_a_killed_parent_are_killed() -> None:
    body = """
        child = await server.spawn(["sleep"], env={})
        print("started", flush=True)
        await child.wait()
    """
    script = PROGRAM.format(body=indent(dedent(body), "    "))
    with child_processes.start(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.kill()
        # The server and the child have the other ends of this pipe.
        assert parent.stdout.read() == ""


def test_a_process_with_a_second_thread_has_no_fork_server() -> None:
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    try:
        assert start_fork_server(lambda _arguments: 0, name="a-worker") is None
    finally:
        is_over.set()
        thread.join()
