"""Event streams: CPU per delivered event next to nchan, memory of an idle stream, and the price of a takeover.

nchan is a module of nginx; without it only its row is missing.
"""

import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from suite.borrowed import (
    Side,
    find_nchan,
    nchan_side,
    open_streams,
    phoenix_side,
    redis_server,
    run_cluster,
    start_replicas,
    wait_until,
)
from suite.groups import Group
from suite.processes import cpu_s, pss_bytes
from suite.profiles import PROFILER
from suite.results import Kind, Measurement, Round, Row

_WATCHERS = 1000
_EVENTS = 100
_INTERVAL_S = 0.05
_SETTLE_S = 2
_IDLE_STREAMS = 400
"""In each round."""
_IDLE_KB = 20.0
_TAKEN_OVER = 1000
_TAKEOVER_S = 0.5
"""2.5 s for 5,000 streams."""
_JOBS = 50

ROWS = (
    Row("stream-nchan", f"an event to {_WATCHERS} clients, each", "µs of CPU", "nginx, nchan, the same Redis", 1.1),
    Row("stream-memory", "an idle event stream", "kB", "limit", 1.0, Kind.ONE_SIDE),
    Row(
        "stream-takeover", f"takeover of {_TAKEN_OVER} streams of {_JOBS} jobs", "s of CPU", "limit", 1.0, Kind.ONE_SIDE
    ),
)


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    names = {row.name: row for row in rows}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as (_, redis_url):
        if row := names.get("stream-nchan"):
            yield _measure_deliveries(row, redis_url, rounds)
        if row := names.get("stream-memory"):
            yield Measurement(row, _idle_rounds(redis_url, rounds))
    if row := names.get("stream-takeover"):
        yield Measurement(row, _takeover_rounds(rounds))


def _measure_deliveries(row: Row, redis_url: str, rounds: int) -> Measurement:
    if not find_nchan():
        return Measurement(row, (), "needs nginx with libnginx-mod-nchan")
    makers = (nchan_side(redis_url, 1), phoenix_side(redis_url, 1))
    found: list[Mapping[str, float]] = []
    with makers[0] as nchan, makers[1] as phoenix:
        for _ in range(rounds + 1):
            turn: dict[str, float] = {"nchan": _event_us(nchan)}
            with PROFILER.sampling(phoenix.process.pid, "stream"):
                turn["phoenix"] = _event_us(phoenix)
            found.append(turn)
    # The first one warms up.
    return Measurement(row, [Round(turn["phoenix"], turn["nchan"]) for turn in found[1:]])


def _event_us(side: Side) -> float:
    """CPU of the server for each event that arrives. Its background services are charged too."""
    readers = side.readers()
    readers.open(side.paths * _WATCHERS)
    readers.pump_for(_SETTLE_S)
    readers.forget_events()
    before_s = cpu_s([side.process])
    for step in range(1, _EVENTS + 1):
        next_s = time.monotonic() + _INTERVAL_S
        side.publish(1, step, readers)
        readers.pump_for(next_s - time.monotonic())
    readers.pump_until_quiet()
    used_s = cpu_s([side.process]) - before_s
    readers.close()
    assert readers.events, "no event arrived"
    return used_s / readers.events * 1e6


def _idle_rounds(redis_url: str, rounds: int) -> list[Round]:
    """How much each further batch of streams adds to the memory of the replica."""
    side_of: AbstractContextManager[Side] = phoenix_side(redis_url, _JOBS)
    with side_of as side:
        opened = [side.readers()]
        opened[0].open(side.paths)
        found: list[Round] = []
        for _ in range(rounds):
            before_bytes = pss_bytes(side.process)
            opened.append(side.readers())
            opened[-1].open([side.paths[number % _JOBS] for number in range(_IDLE_STREAMS)])
            opened[-1].pump_for(_SETTLE_S)
            found.append(Round((pss_bytes(side.process) - before_bytes) / _IDLE_STREAMS / 1000, _IDLE_KB))
        for readers in opened:
            readers.close()
    return found


def _takeover_rounds(rounds: int) -> list[Round]:
    """Two replicas take turns: one is killed with all streams, which come to the other as fast as they can."""
    with tempfile.TemporaryDirectory() as folder, run_cluster(Path(folder)) as cluster:
        start_replicas(cluster)
        job_ids = [cluster.submit() for _ in range(_JOBS)]
        paths = [f"/v1/jobs/{job_ids[number % _JOBS]}/events" for number in range(_TAKEN_OVER)]
        readers = open_streams(cluster, 0, paths)
        found: list[Round] = []
        for number in range(rounds):
            lost, left = cluster.apis[number % 2], cluster.apis[(number + 1) % 2]
            assert left.process is not None
            survivor = psutil.Process(left.process.pid)
            before_s = cpu_s([survivor])
            lost.kill()
            with PROFILER.sampling(survivor.pid, f"takeover-{number}"):
                taken_over = open_streams(cluster, (number + 1) % 2, paths)
            found.append(Round(cpu_s([survivor]) - before_s, _TAKEOVER_S))
            readers.close()
            readers = taken_over
            lost.start()
            wait_until(lambda replica=number % 2: cluster.answers(replica), 120)
        readers.close()
    return found


GROUP = Group("stream", ROWS, measure, limit_s=900)
