"""How long a search by meaning takes over the jobs of one owner, on SQLite and on PostgreSQL, and what it finds.

    python benchmarks/search/meaning.py --jobs 100000
    python benchmarks/search/meaning.py --recall 20000

All jobs are of one owner. Their vectors are drawn at random: what they are does not change how long they take to read
and to compare. Times are those of the whole search in this process: the statements, the comparison, and the jobs of one
page of 20. The vector of the query is there already: the sentence model takes some milliseconds for it.

`--recall` computes real vectors of prompts, and counts how many of the jobs that are the most similar by all bits are
among those that the index of one bit a number finds. It finds as many of a hundred jobs as in a search over 100,000.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
from measure import ADJECTIVES, OWNER, PAGE, PLACES, SUBJECTS, cpu_s, draw_options, draw_prompt, open_databases
from sqlalchemy import insert, text
from sqlalchemy.engine import URL

from phoenix.clock import utc_now
from phoenix.contract import JobState
from phoenix.db import Database, insert_rows, new_row, table_of
from phoenix.db.engine import open_engine
from phoenix.embedding.binary_index import build_index
from phoenix.embedding.sentence_model import Embedder
from phoenix.embedding.vectors import Vectors, rank_by_similarity
from phoenix.ids import new_job_id
from phoenix.jobs.library.meaning import (
    MAX_FOUND,
    MAX_RESCORED,
    MeaningSearch,
    list_unembedded,
    search_by_meaning,
)
from phoenix.jobs.library.search import JobSearch
from phoenix.jobs.library.vector_indexes import VectorIndexes
from phoenix.jobs.repository import JobFilter
from phoenix.jobs.submission.submit import new_job, plan_tasks
from phoenix.jobs.tables import JobEmbeddingRow, JobRow
from phoenix.settings import DatabaseSettings, LimitSettings, SearchSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from builders import make_reel

MODEL, SIZE, ROUNDS, BATCH = "drawn", 384, 60, 2000
RARE, FEW, FAVORITE = "rare", 100, "=f"
"""Of the jobs that differ from all others: their model and their number, and the mark of a favorite."""

_random = random.Random(7)

SEARCHES: dict[str, Callable[[int], tuple[JobSearch, JobFilter]]] = {
    "by meaning": lambda _: (JobSearch(), JobFilter()),
    "and a common word": lambda n: (JobSearch(SUBJECTS[n % len(SUBJECTS)]), JobFilter()),
    "with a tag": lambda n: (JobSearch(tags=[f"tag{n % 50}"]), JobFilter()),
    "with a value of metadata": lambda n: (JobSearch(metadata={"customer": str(n % 200)}), JobFilter()),
    "among one in ten": lambda _: (JobSearch(favorite=True), JobFilter()),
    "among nine in ten": lambda _: (JobSearch(favorite=False), JobFilter()),
    "in a state that all have": lambda _: (JobSearch(), JobFilter(state=JobState.QUEUED)),
    "in a state that few have": lambda _: (JobSearch(), JobFilter(state=JobState.FAILED)),
    "of a model that few have": lambda _: (JobSearch(), JobFilter(model=RARE)),
    "of the last hour": lambda _: (JobSearch(), JobFilter(created_after=utc_now() - timedelta(hours=1))),
}


def draw() -> bytes:
    return _random.randbytes(SIZE)


async def fill(database: Database, jobs: int) -> None:
    """Jobs with their tasks, which are alike but for a few: what they are is of no weight here."""
    reels = [make_reel(*(draw_prompt() for _ in range(1 + number % 3))) for number in range(200)]
    async with database.write() as uow:
        templates = [
            await new_job(uow, reel, draw_options(at), owner_id=OWNER, limits=LimitSettings())
            for at, reel in enumerate(reels)
        ]
    for start in range(0, jobs, BATCH):
        async with database.write() as uow:
            added = [
                like(templates[at % 200], is_one_of_few=at % (jobs // FEW) == 0, is_favorite=at % 10 == 3)
                for at in range(start, min(start + BATCH, jobs))
            ]
            await insert_rows(uow.session, added)
            tasks = [task for at, job in enumerate(added) for task in plan_tasks(job, reels[at % 200])]
            await insert_rows(uow.session, tasks)


def like(template: JobRow, *, is_one_of_few: bool, is_favorite: bool) -> JobRow:
    """A new job like another one, apart from what searches filter by."""
    of_few = {"state": JobState.FAILED, "model": RARE}
    changes = of_few if is_one_of_few else {"created_at": utc_now() - timedelta(days=1)}
    if is_favorite:
        changes |= {"favorite": True, "search_filters": f"{template.search_filters} {FAVORITE}"}
    return new_row(JobRow, **{**vars(template), "id": new_job_id(), **changes})


async def add_vectors(database: Database) -> None:
    while jobs := await list_unembedded(database, limit=BATCH):
        rows = [
            {"job_id": job.job_id, "owner_id": job.owner_id, "model": MODEL, "size": SIZE, "vectors": draw()}
            for job in jobs
        ]
        async with database.write() as uow:
            await uow.session.execute(insert(table_of(JobEmbeddingRow)), rows)


async def measure(
    database: Database, indexes: VectorIndexes, query: Callable[[int], tuple[JobSearch, JobFilter]], rounds: int
) -> tuple[list[float], float]:
    """Milliseconds of each search, sorted, and the CPU time of one on average, that of the server included."""
    durations_ms: list[float] = []
    backend = None
    if database.dialect == "postgresql":
        ((pid,),) = await database.fetch(text("SELECT pg_backend_pid()"))
        backend = psutil.Process(pid)
    began_cpu_s = cpu_s(backend)
    for number in range(rounds):
        meaning = MeaningSearch(Vectors(MODEL, SIZE, draw()), min_similarity=-1)
        search, wanted = query(number)
        began_s = time.perf_counter()
        page = await search_by_meaning(
            database, indexes, meaning, search, wanted, owner_id=OWNER, limit=PAGE, cursor=None
        )
        durations_ms.append(1000 * (time.perf_counter() - began_s))
        assert len(page.jobs) == PAGE
    return sorted(durations_ms), 1000 * (cpu_s(backend) - began_cpu_s) / rounds


async def report(url: URL, jobs: int) -> None:
    database = Database(open_engine(url, DatabaseSettings(statement_timeout_s=600)))
    try:
        await fill(database, jobs)
        await add_vectors(database)
        if database.dialect == "postgresql":
            async with database.write() as uow:
                await uow.session.execute(text("ANALYZE"))
        print(f"\n{database.dialect}: {jobs:,} jobs of the owner", flush=True)
        indexes = VectorIndexes(database)
        (first_ms,), cpu_ms = await measure(database, indexes, SEARCHES["by meaning"], 1)
        print(f"  {'the first search':26} {first_ms:.0f} ms, CPU {cpu_ms:.0f} ms", flush=True)
        for name, query in SEARCHES.items():
            found_ms, cpu_ms = await measure(database, indexes, query, ROUNDS)
            p50_ms, p95_ms = found_ms[len(found_ms) // 2], found_ms[int(0.95 * len(found_ms))]
            times = f"median {p50_ms:6.1f} ms   p95 {p95_ms:6.1f} ms   CPU {cpu_ms:6.1f} ms"
            print(f"  {name:26} {times}", flush=True)
    finally:
        await database.close()


async def report_recall(count: int) -> None:
    embedder = Embedder(SearchSettings())
    limit = max(1, MAX_RESCORED * count // 100_000)
    stored = [(f"{key:08}", (await embedder.embed([draw_prompt()])).data) for key in range(1, count + 1)]
    queries = [
        f"{_random.choice(ADJECTIVES)} {_random.choice(SUBJECTS)} {_random.choice(PLACES)}" for _ in range(ROUNDS)
    ]
    index = build_index([(int(key), data) for key, data in stored], (await embedder.embed(["a"])).size)
    shares: dict[int, list[float]] = {PAGE: [], MAX_FOUND: []}
    for each in queries:
        query = await embedder.embed([each])
        found = {f"{key:08}" for key in index.find_nearest(query, limit=limit)}
        best = rank_by_similarity(stored, query, min_similarity=-1, limit=MAX_FOUND)
        for size, each_share in shares.items():
            each_share.append(len(found.intersection(best[:size])) / size)
    print(f"{limit} of {count:,} jobs found by one bit a number, {len(queries)} queries")
    for size, each_share in shares.items():
        print(f"  of the best {size:3}: {100 * np.mean(each_share):5.1f} %   at least {100 * min(each_share):5.1f} %")
    embedder.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one of the two databases")
    parser.add_argument("--recall", type=int, metavar="PROMPTS", help="only count what is found, among so many prompts")
    given = parser.parse_args()
    if given.recall:
        asyncio.run(report_recall(given.recall))
        return
    with open_databases(given.only) as urls:
        for url in urls:
            asyncio.run(report(url, given.jobs))


if __name__ == "__main__":
    main()
