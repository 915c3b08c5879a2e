"""Streams of one replica beside nchan's: CPU per delivered event, memory per idle connection, and latency.

    python benchmarks/streams/measure.py [--idle 10000] [--watchers 5000]

Needs nginx with libnginx-mod-nchan. Every figure comes from one run, both servers on the same Redis, one process
each; the readers share the machine, so only CPU and memory are the servers' own. Prints one JSON object.
"""

import argparse
import asyncio
import json
import re
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis
from servers import nchan, phoenix_replica, redis_server

from clients import Readers
from phoenix.clock import utc_now
from phoenix.contract.events import ClipProgress
from phoenix.events.channels import Channels

CHANNELS = 200
ROUNDS = 20
_STEP = re.compile(rb'"job_eta_s":([0-9.]+)')


def progress(job_id: str, seq: int, step: int, sent_s: float | None = None) -> bytes:
    """About 300 bytes, as a worker sends them; `job_eta_s` carries the time it was sent."""
    event = ClipProgress(
        job_id=job_id, seq=seq, at=utc_now(), clip_index=0, attempt=1, step=step, steps=100_000,
        progress=step / 100_000, job_progress=step / 100_000, job_eta_s=sent_s,
    )  # fmt: skip
    return event.model_dump_json().encode()


def sent_at(data: bytes) -> float | None:
    found = _STEP.search(data)
    return float(found[1]) if found else None


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def pss_bytes(process: psutil.Process) -> int:
    return process.memory_full_info().pss


def submit(port: int, count: int) -> list[tuple[str, int]]:
    """(job id, last number) of jobs that wait."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
        jobs = [http.post("/v1/reels", json={"clips": [{"prompt": "x"}]}).json() for _ in range(count)]
    return [(job["id"], job["last_seq"]) for job in jobs]


def deliver(
    readers: Readers, process: psutil.Process, publish: Callable[[int], None], *, interval_s: float
) -> dict[str, Any]:
    """Publishes `ROUNDS` times and charges the server's CPU to what arrived."""
    readers.settle()
    readers.events, before_s = 0, cpu_s(process)
    for step in range(1, ROUNDS + 1):
        publish(step)
        end_s = time.monotonic() + interval_s
        while (left_s := end_s - time.monotonic()) > 0:
            readers.pump(left_s, sent_at)
    readers.settle()
    spent_s = cpu_s(process) - before_s
    return {"delivered": readers.events, "cpu_us_per_event": round(spent_s / max(readers.events, 1) * 1e6, 1)}


def measure_phoenix(process: psutil.Process, port: int, redis_url: str, watchers: int, idle: int) -> dict[str, Any]:
    client, channels = redis.Redis.from_url(f"{redis_url}/0"), Channels("phoenix")
    jobs = submit(port, CHANNELS)
    found: dict[str, Any] = {}

    def publish(chosen: list[tuple[str, int]], step: int) -> None:
        with client.pipeline(transaction=False) as pipe:
            for job_id, seq in chosen:
                pipe.publish(channels.job(job_id), progress(job_id, seq, step, time.time()))
            pipe.execute()

    readers = Readers(("127.0.0.1", port), b"event: clip.progress")
    readers.open([f"/v1/jobs/{job_id}/events" for job_id, _ in jobs])
    found["200 channels"] = deliver(readers, process, lambda step: publish(jobs, step), interval_s=0.1)
    readers.close()
    job_id, _ = jobs[0]
    readers = Readers(("127.0.0.1", port), b"event: clip.progress")
    before_bytes = pss_bytes(process)
    readers.open([f"/v1/jobs/{job_id}/events"] * watchers)
    readers.settle()
    found["bytes per connection, one job"] = (pss_bytes(process) - before_bytes) // watchers
    found[f"1 channel x {watchers}"] = deliver(readers, process, lambda step: publish(jobs[:1], step), interval_s=0.5)
    found["latency, one job"] = percentiles(readers.latencies_s)
    readers.close()
    time.sleep(2)
    readers = Readers(("127.0.0.1", port), b"event: clip.progress")
    before_bytes = pss_bytes(process)
    readers.open([f"/v1/jobs/{jobs[number % CHANNELS][0]}/events" for number in range(idle)])
    readers.settle()
    found["idle connections"] = len(readers.sockets)
    found["bytes per idle connection"] = (pss_bytes(process) - before_bytes) // idle
    before_s = cpu_s(process)
    end_s = time.monotonic() + 22
    while time.monotonic() < end_s:
        readers.pump(0.2)
    found["idle CPU share of a core"] = round((cpu_s(process) - before_s) / 22, 3)
    readers.close()
    return found


def measure_nchan(process: psutil.Process, port: int, watchers: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = [f"job-{number}" for number in range(CHANNELS)]

    async def post(chosen: list[str], step: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in chosen:
                body = progress(name.ljust(30, "x"), 1, step)
                tasks.create_task(
                    http.post(f"/pub/{name}", content=body, headers={"X-EventSource-Event": "clip.progress"})
                )

    loop = asyncio.new_event_loop()
    limits = httpx.Limits(max_connections=20)
    http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, limits=limits, timeout=30)
    # Publishing goes on beside the readers, whose buffers would fill otherwise.
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def publish(chosen: list[str], step: int) -> None:
        asyncio.run_coroutine_threadsafe(post(chosen, step), loop).result(60)

    readers = Readers(("127.0.0.1", port), b"event: clip.progress")
    readers.open([f"/sub/{name}" for name in names])
    found["200 channels"] = deliver(readers, process, lambda step: publish(names, step), interval_s=0.1)
    readers.close()
    readers = Readers(("127.0.0.1", port), b"event: clip.progress")
    before_bytes = pss_bytes(process)
    readers.open([f"/sub/{names[0]}"] * watchers)
    readers.settle()
    found["bytes per connection, one job"] = (pss_bytes(process) - before_bytes) // watchers
    found[f"1 channel x {watchers}"] = deliver(readers, process, lambda step: publish(names[:1], step), interval_s=0.5)
    readers.close()
    return found


def measure_latency(process_port: int, redis_url: str) -> dict[str, Any]:
    """From a worker's write to what a client reads, beside a bare subscriber of the same Redis."""
    client, channels = redis.Redis.from_url(f"{redis_url}/0"), Channels("phoenix")
    ((job_id, seq),) = submit(process_port, 1)
    bare, late = client.pubsub(), []
    bare.subscribe(channels.job(job_id))
    bare.get_message(timeout=5)
    readers = Readers(("127.0.0.1", process_port), b"event: clip.progress")
    readers.open([f"/v1/jobs/{job_id}/events"])
    readers.settle()
    ending = threading.Event()

    def listen() -> None:
        while not ending.is_set():
            message = bare.get_message(timeout=0.2)
            if message and message["type"] == "message" and (sent_s := sent_at(message["data"])):
                late.append(time.time() - sent_s)

    thread = threading.Thread(target=listen)
    thread.start()
    for step in range(1, 1001):
        client.publish(channels.job(job_id), progress(job_id, seq, step, time.time()))
        end_s = time.monotonic() + 0.01
        while (left_s := end_s - time.monotonic()) > 0:
            readers.pump(left_s, sent_at)
    ending.set()
    thread.join()
    readers.close()
    return {"stream": percentiles(readers.latencies_s), "bare subscriber": percentiles(late)}


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    return {
        name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2)
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=5_000)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis_url:
        with nchan(Path(name), redis_url) as (process, port):
            found["nchan"] = measure_nchan(process, port, given.watchers)
        with phoenix_replica(Path(name), redis_url) as (process, port):
            found["latency"] = measure_latency(port, redis_url)
            found["phoenix"] = measure_phoenix(process, port, redis_url, given.watchers, given.idle)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
