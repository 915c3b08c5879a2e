"""How long a search over many jobs takes, and what the index costs a submission, on SQLite and on PostgreSQL.

    python benchmarks/search/measure.py --jobs 100000

Fills one database of each kind with jobs of several owners, and searches as the owner that has most of them. Times are
those of the whole search in this process: the statements, and the jobs of one page. For a page of 20.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.engine import URL

from phoenix.contract import JobOptions, ResolvedReel
from phoenix.db import Database, UnitOfWork, insert_rows
from phoenix.db.engine import database_url, open_engine
from phoenix.db.migrate import upgrade
from phoenix.jobs.library.search import JobSearch, search_jobs
from phoenix.jobs.repository import JobFilter
from phoenix.jobs.submission.submit import new_job, plan_tasks
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.settings import DatabaseSettings, LimitSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from builders import make_reel
from faults.servers import PrivatePostgres

PAGE = 20
OWNER, OTHERS = "key_0", 9
"""One owner has half of the jobs."""
ADJECTIVES = [
    "red",
    "blue",
    "golden",
    "misty",
    "neon",
    "ancient",
    "tiny",
    "giant",
    "slow",
    "fast",
    "quiet",
    "stormy",
    "café",
    "naïve",
]
SUBJECTS = [
    "fox",
    "river",
    "city",
    "robot",
    "dragon",
    "forest",
    "train",
    "dancer",
    "ocean",
    "market",
    "castle",
    "kitten",
    "rocket",
    "violin",
]
PLACES = ["at dawn", "in the rain", "under a bridge", "on the moon", "by the sea", "in slow motion", "from above"]
STYLES = ["cinematic", "anime", "noir", "watercolour", "documentary", "render", "bokeh", "handheld"]
BATCH = 500
ROUNDS = 60

_random = random.Random(7)


def draw_prompt() -> str:
    rare = f"w{int(_random.paretovariate(0.7)) % 20_000}"
    first, second = (f"{_random.choice(ADJECTIVES)} {_random.choice(SUBJECTS)}" for _ in range(2))
    return f"a {first} {_random.choice(PLACES)}, {second} behind, {_random.choice(STYLES)} {rare}"


def draw_options(number: int) -> JobOptions:
    title = f"{_random.choice(SUBJECTS)} {number % 997}" if number % 3 == 0 else None
    return JobOptions(title=title, tags=[f"tag{number % 50}"], metadata={"customer": str(number % 500)})


QUERIES: Mapping[str, Callable[[int], JobSearch]] = {
    "a rare word": lambda n: JobSearch(f"w{100 + n}"),
    "a common word": lambda n: JobSearch(SUBJECTS[n % len(SUBJECTS)]),
    "two common words": lambda n: JobSearch(f"{ADJECTIVES[n % 14]} {SUBJECTS[n * 3 % 14]}"),
    "a phrase": lambda n: JobSearch(f'"{ADJECTIVES[n % 14]} {SUBJECTS[n * 3 % 14]}"'),
    "the beginning of a word": lambda n: JobSearch(SUBJECTS[n % 14][:3]),
    "a word of every job": lambda _: JobSearch("a"),
    "a word of no job": lambda n: JobSearch(f"nothing{n}"),
    "a tag": lambda n: JobSearch(tags=[f"tag{n % 50}"]),
    "a value and a word": lambda n: JobSearch(SUBJECTS[n % 14], metadata={"customer": str(n * 7 % 500)}),
}


async def fill(database: Database, jobs: int) -> float:
    """Seconds for each thousand jobs. Writes the rows of a submission, without its checks."""
    reels = [make_reel(*(draw_prompt() for _ in range(1 + number % 3))) for number in range(200)]
    began_s = time.perf_counter()
    for start in range(0, jobs, BATCH):
        async with database.write() as uow:
            await _add(uow, reels, range(start, min(start + BATCH, jobs)))
    return 1000 * (time.perf_counter() - began_s) / jobs


async def _add(uow: UnitOfWork, reels: Sequence[ResolvedReel], numbers: range) -> None:
    jobs: list[JobRow] = []
    tasks: list[TaskRow] = []
    for number in numbers:
        reel = reels[number % len(reels)]
        clips = [clip.model_copy(update={"prompt": draw_prompt()}) for clip in reel.clips]
        drawn = reel.model_copy(update={"clips": clips})
        owner_id = OWNER if number % 2 else f"key_{1 + number // 2 % OTHERS}"
        jobs.append(await new_job(uow, drawn, draw_options(number), owner_id=owner_id, limits=LimitSettings()))
        tasks += plan_tasks(jobs[-1], drawn)
    await insert_rows(uow.session, jobs)
    await insert_rows(uow.session, tasks)


async def measure(database: Database, query: Callable[[int], JobSearch]) -> tuple[list[float], float]:
    """Milliseconds of each search, sorted, and the CPU time of one on average, that of the server included."""
    durations_ms: list[float] = []
    # The pool hands out the connection that was used last.
    backend = None
    if database.dialect == "postgresql":
        ((pid,),) = await database.fetch(text("SELECT pg_backend_pid()"))
        backend = psutil.Process(pid)
    began_cpu_s = cpu_s(backend)
    for number in range(ROUNDS):
        began_s = time.perf_counter()
        await search_jobs(database, query(number), JobFilter(), owner_id=OWNER, limit=PAGE, cursor=None)
        durations_ms.append(1000 * (time.perf_counter() - began_s))
    return sorted(durations_ms), 1000 * (cpu_s(backend) - began_cpu_s) / ROUNDS


def cpu_s(backend: psutil.Process | None) -> float:
    of_backend = sum(backend.cpu_times()[:2]) if backend else 0.0
    return time.process_time() + of_backend


async def report(url: URL, jobs: int) -> None:
    database = Database(open_engine(url, DatabaseSettings(statement_timeout_s=600)))
    try:
        per_thousand_s = await fill(database, jobs)
        if database.dialect == "postgresql":
            async with database.write() as uow:
                await uow.session.execute(text("ANALYZE"))
        print(f"\n{database.dialect}: {jobs:,} jobs, {per_thousand_s:.2f} s for 1,000")
        for name, query in QUERIES.items():
            durations_ms, cpu_ms = await measure(database, query)
            p95_ms = durations_ms[int(0.95 * len(durations_ms))]
            median_ms = statistics.median(durations_ms)
            times = f"median {median_ms:6.1f} ms   p95 {p95_ms:6.1f} ms   CPU {cpu_ms:6.1f} ms"
            print(f"  {name:26} {times}", flush=True)
    finally:
        await database.close()


@contextmanager
def open_databases(only: str | None) -> Generator[list[URL]]:
    """The migrated databases of a run, or the one of this name. They are gone after the block."""
    with tempfile.TemporaryDirectory(prefix="phoenix-search-") as folder, ExitStack() as running:
        urls: list[URL] = []
        if only != "postgresql":
            urls.append(database_url(DatabaseSettings(), Path(folder)))
            upgrade(urls[0])
        if only != "sqlite":
            urls.append(running.enter_context(PrivatePostgres.running()).async_url)
        yield urls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one of the two databases")
    given = parser.parse_args()
    with open_databases(given.only) as urls:
        for url in urls:
            asyncio.run(report(url, given.jobs))


if __name__ == "__main__":
    main()
