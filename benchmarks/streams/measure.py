"""Streams of one replica beside nchan's: CPU per delivered event, memory per idle connection, and latency.

    python benchmarks/streams/measure.py [--repeats 3] [--idle 10000] [--watchers 5000]

Needs nginx with libnginx-mod-nchan. Contenders take turns on the same Redis, one process each, freshly started for
each figure. The readers share the machine, so only CPU and memory are the servers' own; what a replica does besides
streaming is charged to it too, and shown as its idle share. Prints one JSON object.
"""

import argparse
import json
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from figures import cpu_s, deliveries, percentiles, pss_bytes
from sides import Side, nchan_side, phoenix_side, sent_at
from stream_servers import redis_server

from phoenix.events.pubsub.channels import Channels

_IDLE_S = 30
"""Two heartbeats."""
MakeSide = Callable[[str, int], AbstractContextManager[Side]]


@dataclass(frozen=True)
class Load:
    """`rounds` times one event per channel, `interval_s` apart, to so many watchers of each channel."""

    channels: int
    watchers: int
    rounds: int = 100
    interval_s: float = 0.1

    def __str__(self) -> str:
        return f"{self.channels} x {self.watchers}"


def measure_delivery(side: Side, load: Load, redis_process: psutil.Process) -> dict[str, Any]:
    """Charges the CPU that the server and the Redis spend to the events that arrive."""
    readers = side.readers()
    readers.open(side.paths[: load.channels] * load.watchers)
    readers.pump_for(5)
    before_s = cpu_s(side.process)
    readers.pump_for(5)
    idle_share = (cpu_s(side.process) - before_s) / 5
    readers.forget_events()
    before_s, redis_before_s = cpu_s(side.process), cpu_s(redis_process)
    for step in range(1, load.rounds + 1):
        next_s = time.monotonic() + load.interval_s
        side.publish(load.channels, step, readers)
        readers.pump_for(next_s - time.monotonic())
    readers.pump_until_quiet()
    cpu_used_s, redis_cpu_used_s = cpu_s(side.process) - before_s, cpu_s(redis_process) - redis_before_s
    readers.close()
    events = max(readers.events, 1)
    streams = load.channels * load.watchers
    return {
        "us_per_event": round(cpu_used_s / events * 1e6, 1),
        "redis_us_per_event": round(redis_cpu_used_s / events * 1e6, 1),
        **deliveries(readers.events_by_stream, readers.newest_by_stream, streams=streams, rounds=load.rounds),
        "idle_share_of_a_core": round(idle_share, 3),
        **percentiles(readers.latencies_s),
    }


def compare(redis_url: str, redis_process: psutil.Process, load: Load, repeats: int) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []
    makers: dict[str, MakeSide] = {"nchan": nchan_side, "phoenix": phoenix_side}
    for _ in range(repeats):
        run: dict[str, Any] = {}
        for name, make_side in makers.items():
            with make_side(redis_url, load.channels) as side:
                run[name] = measure_delivery(side, load, redis_process)
        run["ratio"] = round(run["phoenix"]["us_per_event"] / run["nchan"]["us_per_event"], 2)
        runs.append(run)
    return {"median ratio": statistics.median(run["ratio"] for run in runs), "runs": runs}


def measure_idle(make_side: MakeSide, redis_url: str, connections: int, channels: int) -> dict[str, Any]:
    with make_side(redis_url, channels) as side:
        warm = side.readers()
        warm.open(side.paths)
        before_bytes = pss_bytes(side.process)
        readers = side.readers()
        started_s = time.monotonic()
        readers.open([side.paths[number % channels] for number in range(connections)])
        opened_s = time.monotonic() - started_s
        readers.pump_for(5)
        held_bytes = (pss_bytes(side.process) - before_bytes) / connections
        before_s = cpu_s(side.process)
        readers.pump_for(_IDLE_S)
        found = {
            "connections": len(readers.sockets),
            "bytes_per_connection": round(held_bytes),
            "idle_share_of_a_core": round((cpu_s(side.process) - before_s) / _IDLE_S, 3),
            "opened_per_s": round(connections / opened_s),
        }
        readers.close()
        warm.close()
    return found


def measure_latency(redis_url: str) -> dict[str, Any]:
    """From a worker's write to what one client reads, beside a bare subscriber of the same Redis."""
    with phoenix_side(redis_url, 1) as side:
        readers = side.readers()
        readers.open(side.paths)
        late: list[float] = []
        ending = threading.Event()
        job_id = side.paths[0].split("/")[3]
        listening = threading.Thread(target=_listen, args=(redis_url, job_id, late, ending))
        listening.start()
        readers.pump_for(2)
        readers.latencies_s.clear()
        for step in range(1, 1001):
            side.publish(1, step, readers)
            readers.pump_for(0.01)
        ending.set()
        listening.join()
        readers.close()
    return {"stream": percentiles(readers.latencies_s), "bare subscriber": percentiles(late)}


def _listen(redis_url: str, job_id: str, late: list[float], ending: threading.Event) -> None:
    pubsub = redis.Redis.from_url(f"{redis_url}/0").pubsub()
    pubsub.subscribe(Channels("phoenix").job(job_id))
    while not ending.is_set():
        message = pubsub.get_message(timeout=0.2)
        if message and message["type"] == "message" and (sent_s := sent_at(message["data"])):
            late.append(time.time() - sent_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=5_000)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loads = [Load(200, 1), Load(1, 1000), Load(1, given.watchers, rounds=40, interval_s=0.5)]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as (redis_process, redis_url):
        for load in loads:
            found[str(load)] = compare(redis_url, redis_process, load, given.repeats)
        found["latency"] = measure_latency(redis_url)
        found["idle"] = {
            name: measure_idle(make_side, redis_url, given.idle, 100)
            for name, make_side in (("nchan", nchan_side), ("phoenix", phoenix_side))
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
