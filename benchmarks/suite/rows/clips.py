"""What Phoenix spends on a clip apart from its pixels: CPU per clip, with an engine that costs nothing.

A replica, workers with that engine, and one for media, on a private PostgreSQL. ffmpeg and the probe run in processes
of their own, and are charged only to the rows about reels.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import text

from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.settings import DatabaseSettings
from suite.borrowed import REPOSITORY, PrivatePostgres, child_processes, free_port, redis_server, running, wait_until
from suite.filling import fill
from suite.groups import Group
from suite.processes import cpu_s, cpu_with_ended_children_s
from suite.profiles import PROFILER
from suite.results import Kind, Measurement, Round, Row
from suite.up import OwnerStream, Up, reel

_CLIP_MS = 12.0
_CLIPS = 20
"""Of the reel of a round."""
_SHORT, _LONG = 10, 150
_SHORT_REELS = 2
"""In a round, next to one long reel."""
_MANY_WORKERS = 4
_QUEUED = 10_000
_WITHIN_S = 300.0
_FREE_WORKER = REPOSITORY / "benchmarks" / "suite" / "free_worker.py"
_CPU = "ms of CPU"

ROWS = (
    Row("clip", "a clip on the worker, with an engine that costs nothing", _CPU, "limit", 1.0, Kind.ONE_SIDE),
    Row("clip-reel", f"a clip of a reel of {_LONG}, all processes", _CPU, f"of a reel of {_SHORT}", 1.2),
    Row("clip-workers", f"a clip on {_MANY_WORKERS} workers", _CPU, "on 1 worker", 1.2),
    Row("clip-queued", f"a clip with {_QUEUED:,} queued, worker and replica", _CPU, f"with {_CLIPS} queued", 1.2),
)


@dataclass
class Fleet:
    """The processes, and the database in which their work is counted."""

    up: Up
    database: Database
    loop: asyncio.Runner
    environment: Mapping[str, str]
    stack: ExitStack
    workers: list[psutil.Process] = field(default_factory=list[psutil.Process])
    media: psutil.Process | None = None

    def start_worker(self) -> None:
        command = [sys.executable, str(_FREE_WORKER), "--queue", "gpu", "--device", "cpu"]
        self.workers.append(self._start(command))
        wait_until(lambda: self._reported() >= len(self.workers) + 1, _WITHIN_S)

    def start_media(self) -> None:
        self.media = self._start([sys.executable, "-m", "phoenix.worker", "--queue", "media"])
        wait_until(lambda: self._reported() >= 1, _WITHIN_S)

    def _start(self, command: Sequence[str]) -> psutil.Process:
        process = child_processes.start(command, env=dict(self.environment))

        def end() -> None:
            process.terminate()
            process.wait(60)

        self.stack.callback(end)
        return psutil.Process(process.pid)

    def _reported(self) -> int:
        return self.up.count_workers()

    def count_rendered(self) -> int:
        async def count() -> int:
            async with self.database.read() as session:
                query = "SELECT count(*) FROM tasks WHERE kind = 'render' AND state = 'succeeded'"
                return int((await session.execute(text(query))).scalar_one())

        return self.loop.run(count())

    def render(self, clips: int) -> None:
        """Returns when a new reel has ended."""
        stream = OwnerStream(self.up.port)
        self.up.end_well(stream, self.up.post(reel(clips)))

    def worker_s(self) -> float:
        return cpu_s(self.workers)

    def worker_and_replica_s(self) -> float:
        return cpu_s([*self.workers, self.up.process])

    def all_s(self) -> float:
        assert self.media is not None
        return sum(cpu_with_ended_children_s(each.pid) for each in (*self.workers, self.media, self.up.process))

    def fill(self, count: int) -> None:
        self.loop.run(fill(self.database, count))


@contextmanager
def running_fleet() -> Generator[Fleet]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, redis_url = stack.enter_context(redis_server(folder))
        postgres = stack.enter_context(PrivatePostgres.running())
        environment = {
            **os.environ,
            "PHOENIX_DATA_DIR": str(folder),
            "PHOENIX_DATABASE__URL": postgres.url.render_as_string(hide_password=False),
            "PHOENIX_REDIS__URL": f"{redis_url}/0",
            "PHOENIX_LOG__LEVEL": "WARNING",
            "PHOENIX_LIMITS__MAX_QUEUED_JOBS": "1000000",
            "PHOENIX_LIMITS__QUEUED_JOBS_PER_KEY": "0",
            # Another process in the middle of a round would be charged with its start.
            "PHOENIX_WORKER__RECYCLE_AFTER_TASKS": "1000000",
            "PHOENIX_MEDIA__THREADS": "1",
        }
        port = free_port()
        command = [sys.executable, "-m", "phoenix", "api", "--port", str(port)]
        process = stack.enter_context(running(command, port, env=environment))
        loop = stack.enter_context(asyncio.Runner())
        database = Database(open_engine(postgres.async_url, DatabaseSettings(statement_timeout_s=60)))
        stack.callback(lambda: loop.run(database.close()))
        fleet = Fleet(Up(psutil.Process(process.pid), port, 0), database, loop, environment, stack)
        fleet.start_media()
        fleet.start_worker()
        fleet.render(_SHORT)
        yield fleet


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    names = {row.name: row for row in rows}
    with running_fleet() as fleet:
        one: list[float] = []
        with PROFILER.sampling(fleet.workers[0].pid, "clip-worker"):
            one = [reel_ms(fleet, fleet.worker_s, _CLIPS) for _ in range(rounds)]
        if row := names.get("clip"):
            yield Measurement(row, [Round(cost_ms, _CLIP_MS) for cost_ms in one])
        if row := names.get("clip-reel"):
            yield Measurement(row, [_reel_round(fleet) for _ in range(rounds)])
        if row := names.get("clip-queued"):
            few = [reel_ms(fleet, fleet.worker_and_replica_s, _CLIPS) for _ in range(rounds)]
        if "clip-workers" in names:
            for _ in range(_MANY_WORKERS - 1):
                fleet.start_worker()
            many = [reel_ms(fleet, fleet.worker_s, _CLIPS * _MANY_WORKERS) for _ in range(rounds)]
            yield Measurement(names["clip-workers"], [Round(*pair) for pair in zip(many, one, strict=True)])
        if row := names.get("clip-queued"):
            fleet.fill(_QUEUED)
            many = [window_ms(fleet) for _ in range(rounds + 1)][1:]
            yield Measurement(row, [Round(*pair) for pair in zip(many, few, strict=True)])


def reel_ms(fleet: Fleet, used_s: Callable[[], float], clips: int) -> float:
    before_s = used_s()
    fleet.render(clips)
    return (used_s() - before_s) / clips * 1000


def _reel_round(fleet: Fleet) -> Round:
    long_ms = reel_ms(fleet, fleet.all_s, _LONG)
    short_ms = sum(reel_ms(fleet, fleet.all_s, _SHORT) for _ in range(_SHORT_REELS)) / _SHORT_REELS
    return Round(long_ms, short_ms)


def window_ms(fleet: Fleet) -> float:
    """CPU for each of the next clips of the queue."""
    before, before_s = fleet.count_rendered(), fleet.worker_and_replica_s()
    end_s = time.monotonic() + _WITHIN_S
    while (rendered := fleet.count_rendered() - before) < _CLIPS:
        assert time.monotonic() < end_s, "the queue does not advance"
        time.sleep(0.1)
    return (fleet.worker_and_replica_s() - before_s) / rendered * 1000


GROUP = Group("clips", ROWS, measure, limit_s=900)
