"""What clients that never read cost a replica: its memory, and the latency of everybody else, in one run.

    python benchmarks/bodies/measure.py [--beside PATH] [--downloads 500] [--streams 500] [--half-open 300]

First an idle replica is measured, then the same replica with the deaf clients. `--beside` names the checkout of another
version, which is measured in the same way right afterwards. Everything is on loopback addresses. Each hundred downloads
come from an address of their own, since a server without keys limits the downloads of an address. The clients share the
machine with the replica. Linux only. Prints one JSON object.
"""

import argparse
import http.client
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from deaf import DeafClients, wait_for_metric
from samples import upload_sound

sys.path.insert(0, str(Path(__file__).parents[1] / "streams"))

from figures import percentiles
from stream_servers import phoenix_replica, redis_server

_PAUSE_S = 0.02
"""Between two requests of the client that is timed."""
_SOUND_BYTES = 16_000_000
"""More than the kernel buffers of a connection on a loopback address."""


@dataclass(frozen=True)
class Load:
    """How many deaf clients of each kind there are, and for how long."""

    downloads: int
    streams: int
    half_open: int
    hold_s: float


@dataclass
class Watch:
    """The largest memory of a process, and the times of another client's requests, while the block runs."""

    most_rss_bytes: int = 0
    times_s: list[float] = field(default_factory=list[float])
    loop_times_s: list[float] = field(default_factory=list[float])
    """CPU time of the event loop while each request waited. Other programs do not lengthen it."""
    check_loop_times_s: list[float] = field(default_factory=list[float])
    """The same for health checks, each on a new connection."""

    def figures(self) -> dict[str, float]:
        loop = {f"loop_{name}": figure for name, figure in percentiles(self.loop_times_s).items()}
        checks = {f"check_loop_{name}": figure for name, figure in percentiles(self.check_loop_times_s).items()}
        counts = {"requests": len(self.times_s), "checks": len(self.check_loop_times_s)}
        return {"rss_mb": _mb(self.most_rss_bytes), **percentiles(self.times_s), **loop, **checks, **counts}


@contextmanager
def watching(process: psutil.Process, port: int, path: str) -> Iterator[Watch]:
    """Requests `path` over one connection, again and again, and looks at the memory after each answer.

    Also makes health checks, each over a new connection.
    """
    watch, ending = Watch(), threading.Event()

    def request_forever() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while not ending.wait(_PAUSE_S):
            began_s, began_loop_s = time.perf_counter(), read_loop_s(process)
            connection.request("GET", path)
            connection.getresponse().read()
            watch.times_s.append(time.perf_counter() - began_s)
            watch.loop_times_s.append(read_loop_s(process) - began_loop_s)
            watch.most_rss_bytes = max(watch.most_rss_bytes, process.memory_info().rss)
        connection.close()

    def check_forever() -> None:
        while not ending.wait(_PAUSE_S):
            began_loop_s = read_loop_s(process)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            connection.close()
            watch.check_loop_times_s.append(read_loop_s(process) - began_loop_s)

    threads = [threading.Thread(target=each) for each in (request_forever, check_forever)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def read_loop_s(process: psutil.Process) -> float:
    """CPU seconds of the first thread of the process, which runs the event loop."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


def measure(source: Path, load: Load) -> dict[str, Any]:
    """The figures of one version, from a replica that has just been started."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(Path(folder)) as (_, redis_url),
        phoenix_replica(Path(folder), redis_url, source=source) as (process, port),
    ):
        job_path, content_path = prepare(port)
        with watching(process, port, job_path):
            time.sleep(3)  # whatever a first request loads is loaded
        with watching(process, port, job_path) as idle:
            time.sleep(load.hold_s)
        idle_bytes = process.memory_info().rss
        with DeafClients(port) as deaf:
            with watching(process, port, job_path) as opening:
                deaf.open(content_path, load.downloads)
                deaf.open(f"{job_path}/events", load.streams)
                deaf.open_halves(load.half_open)
                wait_for_metric(port, "phoenix_streams_open", load.streams)
            with watching(process, port, job_path) as under_load:
                deaf.hold(load.hold_s)
            still_open = deaf.count_open()
        return {
            "idle": idle.figures() | {"rss_mb": _mb(idle_bytes)},
            "while they connect": opening.figures(),
            "under load": under_load.figures() | {"deaf clients left": still_open},
            "memory ratio": round(max(opening.most_rss_bytes, under_load.most_rss_bytes) / idle_bytes, 2),
            "p99 ratio": round(percentiles(under_load.times_s)["p99_ms"] / percentiles(idle.times_s)["p99_ms"], 2),
        }


def prepare(port: int) -> tuple[str, str]:
    """Submits a job, which waits as there is no worker, and uploads a sound. The paths of the job and of the sound."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"clips": [{"prompt": "a red balloon"}]})
    connection.request("POST", "/v1/reels", body, {"Content-Type": "application/json"})
    job_id = json.loads(connection.getresponse().read())["id"]
    content_path = upload_sound(connection, _SOUND_BYTES)
    connection.close()
    return f"/v1/jobs/{job_id}", content_path


def _mb(size_bytes: int) -> float:
    return round(size_bytes / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--downloads", type=int, default=500)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--half-open", type=int, default=300)
    parser.add_argument("--hold-s", type=float, default=20)
    given = parser.parse_args()
    load = Load(given.downloads, given.streams, given.half_open, given.hold_s)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    here = Path(__file__).parents[2]
    sources = {"this version": here} | ({"beside it": given.beside} if given.beside else {})
    print(json.dumps({name: measure(source, load) for name, source in sources.items()}, indent=2))


if __name__ == "__main__":
    main()
