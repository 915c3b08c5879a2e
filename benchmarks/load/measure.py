"""A whole fleet under load: what it accepts a second, what it holds in memory and in Redis, and whether it loses any.

    python benchmarks/load/measure.py --jobs 2000 --workers 16 --drain-s 120

Two API replicas, worker processes with the animatic engine, a private PostgreSQL and a private Redis, all on this
machine, and the clients too. What has not been rendered when the time is up is canceled, so that everything must end.
"""

import argparse
import asyncio
import http.client
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from redis import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from phoenix.settings import SchedulerSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from faults.checker import check_ended, describe
from faults.cluster import TINY, Cluster, Member, run_cluster, wait_until

CLIENTS = 16
START_WITHIN_S = 400.0
MIB = 1024 * 1024
BODY = json.dumps({**TINY, "steps": 1, "clips": [{"prompt": "a red balloon"}]})
HEADERS = {"Content-Type": "application/json"}


@dataclass
class Submitted:
    job_ids: list[str] = field(default_factory=list[str])
    latencies_s: list[float] = field(default_factory=list[float])
    refused: list[int] = field(default_factory=list[int])


@dataclass
class Watched:
    """The largest that was seen."""

    messages: int = 0
    api_mib: list[float] = field(default_factory=list[float])
    worker_mib: list[float] = field(default_factory=list[float])


def settings(cluster: Cluster) -> dict[str, str]:
    """Without the proxies and the haste of the fault tests: as an operator would run it."""
    scheduler = SchedulerSettings()
    return {
        "PHOENIX_DATABASE__URL": cluster.postgres.async_url.render_as_string(hide_password=False),
        "PHOENIX_DATABASE__STATEMENT_TIMEOUT_S": "30",
        "PHOENIX_REDIS__URL": cluster.redis.url,
        "PHOENIX_SCHEDULER__LEASE_S": str(scheduler.lease_s),
        "PHOENIX_SCHEDULER__HEARTBEAT_S": str(scheduler.heartbeat_s),
        "PHOENIX_SCHEDULER__REAP_INTERVAL_S": str(scheduler.reap_interval_s),
        "PHOENIX_SCHEDULER__DISPATCH_INTERVAL_S": str(scheduler.dispatch_interval_s),
        "PHOENIX_SCHEDULER__DISPATCH_CHECK_S": str(scheduler.dispatch_check_s),
        "PHOENIX_ANIMATIC__SECONDS_PER_STEP": "0",
        "PHOENIX_LIMITS__MAX_QUEUED_JOBS": "50000",
        "PHOENIX_LOG__LEVEL": "WARNING",
        "OMP_NUM_THREADS": "1",
    }


def start_replicas(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.add_api(**settings(cluster))
    wait_until(lambda: all(cluster.answers(number) for number in range(2)), START_WITHIN_S)


def start_workers(cluster: Cluster, count: int) -> None:
    """So many processes that render, under one supervisor, and one that joins."""
    gpu = cluster.add_worker("gpu", **settings(cluster))
    gpu.terminate()
    assert gpu.process is not None
    gpu.process.wait()
    # Named each time, because processes of one mention would take turns on the CPU.
    gpu.arguments = [*gpu.arguments, *(["--device", "cpu"] * count)]
    gpu.start()
    cluster.add_worker("media", **settings(cluster))
    wait_until(lambda: count_workers(cluster) > count, START_WITHIN_S)


def count_workers(cluster: Cluster) -> int:
    # A machine with far more processes than cores answers 503 now and then, or too late.
    with suppress(httpx.HTTPError):
        return cluster.count_ready()
    return 0


def admit_connections(cluster: Cluster, count: int) -> None:
    """PostgreSQL admits 100, which 64 workers need more than; see docs/operations/database.md."""

    async def configure() -> None:
        engine = create_async_engine(cluster.postgres.async_url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(f"ALTER SYSTEM SET max_connections = {count}"))
        await engine.dispose()

    asyncio.run(configure())
    cluster.postgres.crash()
    cluster.postgres.ensure_running()


def submit_all(ports: Sequence[int], count: int, within_s: float) -> tuple[Submitted, float]:
    """By clients that each keep a connection open, and send the next as soon as they are answered."""
    submitted, end_s, left = Submitted(), time.monotonic() + within_s, iter(range(count))

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60)
        while time.monotonic() < end_s and next(left, None) is not None:
            began_s = time.perf_counter()
            connection.request("POST", "/v1/reels", BODY, HEADERS)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 202:
                submitted.latencies_s.append(time.perf_counter() - began_s)
                submitted.job_ids.append(json.loads(said)["id"])
            else:
                submitted.refused.append(answer.status)
        connection.close()

    began_s = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return submitted, time.monotonic() - began_s


def rss_mib(members: Sequence[Member], *, children: bool) -> list[float]:
    processes = [
        process
        for member in members
        if member.process is not None
        for process in (member.children() if children else [psutil.Process(member.process.pid)])
    ]
    return [process.memory_info().rss / MIB for process in processes]


def watch(cluster: Cluster, within_s: float) -> Watched:
    """Until all has ended, or the time is up."""
    seen, end_s = Watched(), time.monotonic() + within_s
    with Redis.from_url(cluster.redis.url) as redis:
        while time.monotonic() < end_s:
            seen.messages = max(seen.messages, int(redis.zcard("phoenix:queue:gpu")))  # type: ignore[arg-type]
            if not open_jobs(cluster):
                break
            # Each look costs queries that would be measured as load.
            time.sleep(1)
    return seen


def cancel_rest(ports: Sequence[int], cluster: Cluster) -> int:
    rest = [job.id for job in cluster.history(frozenset(), with_files=False).jobs if not job.state.is_terminal]

    def cancel(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", ports[number % 2], timeout=60)
        for job_id in rest[number::CLIENTS]:
            connection.request("POST", f"/v1/jobs/{job_id}/cancel")
            connection.getresponse().read()
        connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(cancel, range(CLIENTS)))
    return len(rest)


def describe_mib(name: str, before: Sequence[float], after: Sequence[float]) -> str:
    if not before or not after:
        return f"{name}: none"
    return (
        f"{name}: median {statistics.median(before):.0f} -> {statistics.median(after):.0f} MiB, most {max(after):.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--submit-s", type=float, default=60)
    parser.add_argument("--drain-s", type=float, default=120)
    arguments = parser.parse_args()
    # Asked to end, it ends its processes first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with run_cluster(Path(tempfile.mkdtemp(prefix="phoenix-load-"))) as cluster:
        admit_connections(cluster, 300)
        start_replicas(cluster)
        ports = [int(api.arguments[-1]) for api in cluster.apis]
        apis = rss_mib(cluster.apis, children=False)
        submitted, took_s = submit_all(ports, arguments.jobs, arguments.submit_s)
        latencies_ms = sorted(1000 * seconds for seconds in submitted.latencies_s)
        print(
            f"accepted {len(submitted.job_ids)} in {took_s:.1f} s: {len(submitted.job_ids) / took_s:.0f}/s, "
            f"p50 {statistics.median(latencies_ms):.0f} ms, p99 {latencies_ms[len(latencies_ms) * 99 // 100]:.0f} ms, "
            f"refused {len(submitted.refused)}",
            flush=True,
        )
        began_s = time.monotonic()
        if arguments.workers:
            start_workers(cluster, arguments.workers)
        print(f"{arguments.workers} workers ready after {time.monotonic() - began_s:.0f} s", flush=True)
        workers = rss_mib(cluster.workers, children=True)
        draining_s = time.monotonic()
        seen = watch(cluster, arguments.drain_s)
        print(f"watched the queue for {time.monotonic() - draining_s:.0f} s more", flush=True)
        canceled = cancel_rest(ports, cluster)
        wait_until(lambda: watch(cluster, 0.5) is not None and not open_jobs(cluster), 120)
        print(describe_mib("API replicas", apis, rss_mib(cluster.apis, children=False)))
        print(describe_mib("workers", workers, rss_mib(cluster.workers, children=True)))
        history = cluster.history(frozenset(submitted.job_ids))
        states = [job.state.value for job in history.jobs]
        print(f"most dispatch messages in Redis {seen.messages}; canceled at the end {canceled};", end=" ")
        print({state: states.count(state) for state in sorted(set(states))})
        findings = check_ended(history)
        print(f"{len(findings)} findings", describe(findings) if findings else "")
        return 1 if findings else 0


def open_jobs(cluster: Cluster) -> int:
    try:
        queue = cluster.get("/v1/queue")
    except httpx.HTTPStatusError:
        return -1
    return int(str(queue["jobs_queued"])) + int(str(queue["jobs_running"]))


if __name__ == "__main__":
    sys.exit(main())
