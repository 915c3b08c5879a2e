"""How long statistics over 30 days and a scrape take, on SQLite and on PostgreSQL, with many stored jobs.

    python benchmarks/history/measure.py --jobs 100000

Fills one database of each kind with ended jobs, and with 30 days of statistics of 2 queues and 4 models, as full as a
busy fleet makes them. Times are those of the whole read: statements, sums, percentiles, and the JSON. CPU is of this
process, so with PostgreSQL it is without the server.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.engine import URL

from phoenix.api.history.totals import show_totals
from phoenix.clock import utc_now
from phoenix.contract import JobOptions
from phoenix.db import Database, insert_rows
from phoenix.db.engine import database_url, open_engine
from phoenix.db.migrate import upgrade
from phoenix.jobs.history.figures import (
    ALL_TIME_S,
    DAY_S,
    EPOCH,
    HOUR_S,
    Figures,
    QueueSample,
    StatsKey,
    add_up,
    figures_of,
    in_everything,
    spread_sample,
    start_of,
)
from phoenix.jobs.history.measurements import Measurement
from phoenix.jobs.history.queries import StatsWindow, read_totals, write_stats
from phoenix.jobs.history.tables import StatsRow
from phoenix.jobs.metrics import read_gauges, record_job_counts
from phoenix.jobs.submission.submit import new_job
from phoenix.jobs.tables import JobRow
from phoenix.settings import DatabaseSettings, LimitSettings
from phoenix.telemetry.meters import Meters

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from builders import make_reel
from faults.servers import PrivatePostgres

DAYS, MODELS, SHAPES = 30, 4, ("480p-81", "720p-121", "1080p-81")
PER_HOUR = 40
ROUNDS, BATCH = 10, 1000
_random = random.Random(7)


def draw_attempt(model: int, shape: str = "") -> Measurement:
    scale = _random.lognormvariate(0, 0.4)
    stages = {
        "load": 1.0,
        "queue": 3 * scale,
        "text": 0.4,
        "denoise": 30 * scale,
        "decode": 4 * scale,
        "encode": 2 * scale,
    }
    failed = _random.random() < 0.02
    return Measurement(
        subject="task",
        name="gpu",
        outcome="failed" if failed else "succeeded",
        model=f"model-{model}",
        shape=shape,
        code="GPU_OOM" if failed else "none",
        is_clip=True,
        took_s=40 * scale,
        waited_s=_random.expovariate(0.1),
        stages=stages,
        peak_memory_bytes=int(2**35 * scale),
    )


def draw_figures(model: int, count: int) -> Figures:
    found = Figures()
    for _ in range(count):
        found.merge(figures_of(draw_attempt(model)))
    return found


def rows_of(now: datetime) -> Iterator[StatsRow]:
    figures = {(model, number): draw_figures(model, PER_HOUR) for model in range(MODELS) for number in range(8)}
    for resolution_s, count in ((HOUR_S, DAYS * 24), (DAY_S, DAYS)):
        for step in range(count + 1):
            starts_at = start_of(now, resolution_s) - timedelta(seconds=step * resolution_s)
            parts: list[tuple[StatsKey, Figures]] = []
            for model in range(MODELS):
                made = figures[model, step % 8]
                parts.append((StatsKey(resolution_s, starts_at, "task", "gpu", f"model-{model}"), made))
                job = Measurement("job", "reel", "succeeded", model=f"model-{model}", took_s=100.0, waited_s=5.0)
                parts.append((StatsKey(resolution_s, starts_at, "job", "reel", f"model-{model}"), figures_of(job)))
            parts += [in_everything(*part) for part in parts]
            samples = [QueueSample(queue, 5, 3, 4, 3600.0, 0.8) for queue in ("gpu", "media")]
            parts += [part for sample in samples for part in spread_sample(sample, starts_at)]
            sums = add_up(parts)
            yield from (row(key, each) for key, each in sums.items() if key.resolution_s == resolution_s)
    for model in range(MODELS):
        for shape in SHAPES:
            yield row(StatsKey(ALL_TIME_S, EPOCH, "task", "gpu", f"model-{model}", shape), figures[model, 0])


def row(key: StatsKey, figures: Figures) -> StatsRow:
    return StatsRow(**vars(key), data=figures.as_document())


async def fill(database: Database, jobs: int, *, owner_id: str = "key") -> None:
    reel = make_reel("a fox")
    for start in range(0, jobs, BATCH):
        async with database.write() as uow:
            made = [
                await new_job(uow, reel, JobOptions(), owner_id=owner_id, limits=LimitSettings())
                for _ in range(start, min(start + BATCH, jobs))
            ]
            await insert_rows(uow.session, made)
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).values(state="succeeded", finished_at=utc_now()))
    stored = list(rows_of(utc_now()))
    for start in range(0, len(stored), BATCH):
        async with database.write() as uow:
            await insert_rows(uow.session, stored[start : start + BATCH])


def reads_of(database: Database) -> Mapping[str, Callable[[], Awaitable[Any]]]:
    now = utc_now()
    month = timedelta(days=DAYS)

    def stats(step: Any, by: Any = None, lasts: timedelta = month) -> Callable[[], Awaitable[Any]]:
        async def read() -> Any:
            return await write_stats(database, StatsWindow(now - lasts, now, step), by)

        return read

    async def scrape() -> Any:
        async with database.read() as session:
            await read_gauges(session)
        return Meters().write(*show_totals(await read_totals(database)))

    return {
        "stats, 30 days by day": stats("day"),
        "stats, 30 days by day and model": stats("day", "model"),
        "stats, 30 days by hour": stats("hour"),
        "stats, 14 days by hour": stats("hour", lasts=timedelta(days=14)),
        "stats, 1 day by hour": stats("hour", lasts=timedelta(days=1)),
        "scrape": scrape,
    }


async def report(url: URL, jobs: int) -> None:
    database = Database(open_engine(url, DatabaseSettings(statement_timeout_s=600)))
    try:
        await fill(database, jobs)
        if database.dialect == "postgresql":
            async with database.write() as uow:
                await uow.session.execute(text("ANALYZE"))
        async with database.write() as uow:
            await record_job_counts(uow)
        print(f"\n{database.dialect}: {jobs:,} jobs")
        for name, read in reads_of(database).items():
            durations_ms: list[float] = []
            began_cpu_s = time.process_time()
            for _ in range(ROUNDS):
                began_s = time.perf_counter()
                await read()
                durations_ms.append(1000 * (time.perf_counter() - began_s))
            cpu_ms = 1000 * (time.process_time() - began_cpu_s) / ROUNDS
            durations_ms.sort()
            median_ms, most_ms = statistics.median(durations_ms), durations_ms[-2]
            print(f"  {name:34} median {median_ms:6.1f} ms   p95 {most_ms:6.1f} ms   CPU {cpu_ms:6.1f} ms", flush=True)
    finally:
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one of the two databases")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="phoenix-history-") as folder, ExitStack() as running:
        urls: list[URL] = []
        if given.only != "postgresql":
            urls.append(database_url(DatabaseSettings(), Path(folder)))
            upgrade(urls[0])
        if given.only != "sqlite":
            urls.append(running.enter_context(PrivatePostgres.running()).async_url)
        for url in urls:
            asyncio.run(report(url, given.jobs))


if __name__ == "__main__":
    main()
