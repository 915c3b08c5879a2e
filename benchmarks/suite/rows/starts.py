"""What it takes to start: processor time until a process is ready, its memory then, and `phoenix up` on the clock."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from suite.borrowed import child_processes, free_port, redis_server, running
from suite.groups import Group
from suite.instructions import count_instructions
from suite.processes import cpu_with_ended_children_s
from suite.profiles import PROFILER
from suite.results import Kind, Measurement, Round, Row
from suite.up import running_up

_STARTED = '"worker started"'
_START_WITHIN_S = 120

HELP = [sys.executable, "-m", "phoenix", "--help"]
IMPORT = [sys.executable, "-c", "from phoenix.api.app import create_app"]

LIMITS: Mapping[str, float] = {
    "help": 0.2,
    "import-api": 0.8,
    "replica-memory": 100,
    "worker-start": 0.8,
    "worker-memory": 70,
    "up": 1.5,
}
ROWS = (
    Row("help", "`phoenix --help`", "s of CPU", "limit", 1.0, Kind.ONE_SIDE),
    Row("import-api", "import of the API", "s of CPU", "limit", 1.0, Kind.ONE_SIDE),
    Row("replica-memory", "resident memory of a replica after a first request", "MB", "limit", 1.0, Kind.ONE_SIDE),
    Row("worker-start", "worker process until it is ready, animatic alone", "s of CPU", "limit", 1.0, Kind.ONE_SIDE),
    Row("worker-memory", "resident memory of a worker process then", "MB", "limit", 1.0, Kind.ONE_SIDE),
    Row("up", "`phoenix up` in a new folder until it is ready", "s", "limit", 1.0, Kind.ONE_SIDE),
)


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    names = {row.name: row for row in rows}
    for name, command in (("help", HELP), ("import-api", IMPORT)):
        if row := names.get(name):
            _run_cpu_s(command)
            found = [Round(_run_cpu_s(command), LIMITS[name]) for _ in range(rounds)]
            yield Measurement(row, found, instructions=count_instructions(command))
    if names.keys() & {"worker-start", "worker-memory"}:
        yield from _measure_pairs(names, ("worker-start", "worker-memory"), _start_worker, rounds)
    if row := names.get("replica-memory"):
        with _services() as environment:
            found = [Round(_replica_mb(environment), LIMITS["replica-memory"]) for _ in range(rounds)]
        yield Measurement(row, found)
    if row := names.get("up"):
        yield Measurement(row, [Round(_up_s(), LIMITS["up"]) for _ in range(rounds)])


def _measure_pairs(
    names: Mapping[str, Row],
    pair: tuple[str, str],
    start: Callable[[Mapping[str, str]], tuple[float, float]],
    rounds: int,
) -> Iterator[Measurement]:
    with _services() as environment:
        found = [start(environment) for _ in range(rounds)]
    for index, name in enumerate(pair):
        if row := names.get(name):
            yield Measurement(row, [Round(each[index], LIMITS[name]) for each in found])


def _run_cpu_s(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child_processes.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _services() -> Generator[Mapping[str, str]]:
    """A Redis, and a SQLite database with its tables. The environment of the processes that use them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, redis_url = stack.enter_context(redis_server(folder))
        environment = {
            **os.environ,
            "PHOENIX_DATA_DIR": str(folder),
            "PHOENIX_REDIS__URL": f"{redis_url}/0",
            "PHOENIX_LOG__LEVEL": "INFO",
        }
        child_processes.run([sys.executable, "-m", "phoenix", "db", "upgrade"], env=environment, check=True)
        yield environment


def _start_worker(environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of CPU until the worker is ready, with its child processes; and its memory then, in MB."""
    command = [sys.executable, "-m", "phoenix.worker", "--queue", "gpu", "--device", "cpu"]
    process = child_processes.start(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        with PROFILER.sampling(process.pid, "worker-start"):
            for line in process.stdout:
                if _STARTED in line:
                    return cpu_with_ended_children_s(process.pid), resident_mb(process.pid)
        raise RuntimeError("the worker did not start")
    finally:
        process.terminate()
        process.communicate(timeout=_START_WITHIN_S)


def resident_mb(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 1e6


def _replica_mb(environment: Mapping[str, str]) -> float:
    port = free_port()
    command = [sys.executable, "-m", "phoenix", "api", "--port", str(port)]
    with running(command, port, env={**environment, "PHOENIX_LOG__LEVEL": "WARNING"}) as process:
        child_processes.run(
            [
                sys.executable,
                "-c",
                f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/v1/models').read()",
            ],
            check=True,
        )
        # The services in the background have begun too.
        time.sleep(2)
        return resident_mb(process.pid)


def _up_s() -> float:
    with running_up() as up:
        return up.ready_s


GROUP = Group("starts", ROWS, measure)
