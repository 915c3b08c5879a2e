"""A replica with thousands of streams is killed, and its clients all come to the other at once: what that costs.

    python benchmarks/streams/takeover.py [--streams 5000] [--jobs 50]

Two replicas on a private PostgreSQL and a private Redis. The clients come back as fast as they can, without the jitter
that browsers are told to keep. Counts the transactions of the database beyond those of idle replicas.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import psutil
from figures import cpu_s
from sqlalchemy import text

from clients import Readers
from phoenix.db.engine import open_engine
from phoenix.settings import DatabaseSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from faults.cluster import Cluster, run_cluster, wait_until

_IDLE_S = 10
# PostgreSQL's counters lag behind by about a second.
_COUNTED_AFTER_S = 3


def count_transactions(cluster: Cluster) -> int:
    async def ask() -> int:
        engine = open_engine(cluster.postgres.async_url, DatabaseSettings())
        try:
            async with engine.connect() as connection:
                query = text("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database")
                return int((await connection.execute(query)).scalar_one())
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def open_streams(cluster: Cluster, replica: int, paths: list[str]) -> Readers:
    port = int(cluster.apis[replica].arguments[-1])
    readers = Readers(port, greeting=b"event: snapshot", marker=b"event: clip.progress", sent_at=lambda _data: None)
    readers.open(paths)
    return readers


def start(cluster: Cluster) -> None:
    url = cluster.postgres.async_url.render_as_string(hide_password=False)
    for _ in range(2):
        cluster.add_api(
            PHOENIX_DATABASE__URL=url,
            PHOENIX_REDIS__URL=cluster.redis.url,
            PHOENIX_LIMITS__STREAMS_PER_KEY="0",
            # On a busy machine a replica reads a head late, and would take its client for a silent one.
            PHOENIX_LIMITS__HEAD_TIMEOUT_S="300",
        )
    for number in range(2):
        wait_until(lambda number=number: cluster.answers(number), 60)


def measure(cluster: Cluster, streams: int, jobs: int) -> dict[str, object]:
    start(cluster)
    job_ids = [cluster.submit() for _ in range(jobs)]
    paths = [f"/v1/jobs/{job_ids[number % jobs]}/events" for number in range(streams)]
    first = open_streams(cluster, 0, paths)
    before = count_transactions(cluster)
    first.pump_for(_IDLE_S)
    idle_per_s = (count_transactions(cluster) - before) / _IDLE_S

    process = cluster.apis[1].process
    assert process is not None
    survivor = psutil.Process(process.pid)
    before, before_cpu_s, began_s = count_transactions(cluster), cpu_s(survivor), time.monotonic()
    cluster.apis[0].kill()
    second = open_streams(cluster, 1, paths)
    took_s, cpu_used_s = time.monotonic() - began_s, cpu_s(survivor) - before_cpu_s
    second.pump_for(_COUNTED_AFTER_S)
    counted = count_transactions(cluster) - before
    first.close()
    second.close()
    return {
        "streams": len(second.sockets),
        "jobs": jobs,
        "taken over in s": round(took_s, 1),
        "CPU of the survivor in s": round(cpu_used_s, 1),
        "transactions per s, idle": round(idle_per_s, 1),
        "transactions beyond idle": round(counted - idle_per_s * (took_s + _COUNTED_AFTER_S)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=50)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder, run_cluster(Path(folder)) as cluster:
        print(json.dumps(measure(cluster, given.streams, given.jobs), indent=2))


if __name__ == "__main__":
    main()
