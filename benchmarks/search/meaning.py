"""How long a search by meaning takes over the jobs of one owner, on SQLite and on PostgreSQL.

    python benchmarks/search/meaning.py --jobs 20000

The vectors are drawn at random: what they are does not change how long they take to read and to compare. Times are
those of the whole search in this process: the statements, the comparison, and the jobs of one page of 20.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from measure import OWNER, PAGE, SUBJECTS, fill
from sqlalchemy.engine import URL

from phoenix.db import Database, insert_rows
from phoenix.db.engine import database_url, open_engine
from phoenix.db.migrate import upgrade
from phoenix.embedding.vectors import Vectors
from phoenix.jobs.library.meaning import MeaningSearch, list_unembedded, search_by_meaning
from phoenix.jobs.library.search import JobSearch
from phoenix.jobs.repository import JobFilter
from phoenix.jobs.tables import JobEmbeddingRow
from phoenix.settings import DatabaseSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from faults.servers import PrivatePostgres

MODEL, SIZE, ROUNDS, BATCH = "drawn", 384, 40, 2000

_random = random.Random(7)


def draw() -> bytes:
    return _random.randbytes(SIZE)


async def add_vectors(database: Database) -> int:
    """The number of jobs that the owner has."""
    count = 0
    while jobs := await list_unembedded(database, limit=BATCH):
        rows = [
            JobEmbeddingRow(job_id=job.job_id, owner_id=job.owner_id, model=MODEL, size=SIZE, vectors=draw())
            for job in jobs
        ]
        async with database.write() as uow:
            await insert_rows(uow.session, rows)
        count += sum(job.owner_id == OWNER for job in jobs)
    return count


async def measure(database: Database, search: JobSearch) -> list[float]:
    """Milliseconds of each search, sorted."""
    durations_ms: list[float] = []
    for _ in range(ROUNDS):
        meaning = MeaningSearch(Vectors(MODEL, SIZE, draw()), min_similarity=-1)
        began_s = time.perf_counter()
        await search_by_meaning(database, meaning, search, JobFilter(), owner_id=OWNER, limit=PAGE, cursor=None)
        durations_ms.append(1000 * (time.perf_counter() - began_s))
    return sorted(durations_ms)


async def report(url: URL, jobs: int) -> None:
    database = Database(open_engine(url, DatabaseSettings(statement_timeout_s=600)))
    try:
        await fill(database, jobs)
        count = await add_vectors(database)
        print(f"\n{database.dialect}: {count:,} jobs of the owner", flush=True)
        for name, search in (("meaning alone", JobSearch()), ("and a common word", JobSearch(SUBJECTS[0]))):
            found_ms = await measure(database, search)
            p50_ms, p95_ms = found_ms[len(found_ms) // 2], found_ms[int(0.95 * len(found_ms))]
            print(f"  {name:26} median {p50_ms:6.1f} ms   p95 {p95_ms:6.1f} ms", flush=True)
    finally:
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000, help="of which the owner has one half")
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="phoenix-search-") as folder, ExitStack() as running:
        sqlite = database_url(DatabaseSettings(), Path(folder))
        upgrade(sqlite)
        for url in (sqlite, running.enter_context(PrivatePostgres.running()).async_url):
            asyncio.run(report(url, jobs))


if __name__ == "__main__":
    main()
