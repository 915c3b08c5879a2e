"""What the queries of dispatcher, lease reaper and positions cost at a growing number of waiting jobs, on PostgreSQL.

python benchmarks/load/queue_cost.py 100 2000 10000
"""

import asyncio
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event, select, text
from sqlalchemy.engine import Engine
from sqlmodel import col

from phoenix.contract import JobOptions
from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.dispatch import mark_dispatched, plan_dispatch
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import JobRow
from phoenix.settings import DatabaseSettings, LimitSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from suite.rows.queues import Query, find_expired, find_positions, plan_next

from builders import make_reel
from faults.servers import PrivatePostgres

OWNERS = 10
SLOTS = 64
ROUNDS = 15
HOUR_S = 3600.0


async def fill(database: Database, count: int) -> None:
    """So many one-clip reels of several owners wait."""
    async with database.read() as session:
        there = len((await session.scalars(select(col(JobRow.id)))).all())
    limits = LimitSettings(max_queued_jobs=1_000_000)
    for start in range(there, count, 100):
        async with database.write() as uow:
            for number in range(start, min(start + 100, count)):
                owner_id = f"key_{number % OWNERS}"
                await submit(uow, make_reel(), JobOptions(), owner_id=owner_id, request_id=None, limits=limits)


QUERIES: dict[str, Query] = {"dispatch": plan_next, "reaper": find_expired, "position": find_positions}


async def measure_ms(database: Database, query: Query) -> float:
    durations_ms: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        await query(database)
        durations_ms.append(1000 * (time.perf_counter() - began_s))
    return statistics.median(durations_ms)


async def explain(database: Database, query: Query) -> list[str]:
    """Lines of the plans that read a whole table."""
    statements: list[tuple[str, object]] = []
    with recorded(database.engine.sync_engine, statements):
        await query(database)
    async with database.read() as session:
        connection = await session.connection()
        plans: list[str] = []
        for statement, parameters in statements:
            raw = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)  # type: ignore[arg-type]
            plans += [line for (line,) in raw.all()]
    return [line.strip() for line in plans if "Seq Scan" in line]


@contextmanager
def recorded(engine: Engine, statements: list[tuple[str, object]]):
    def record(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", record)
    yield
    event.remove(engine, "before_cursor_execute", record)


async def measure(postgres: PrivatePostgres, counts: list[int]) -> None:
    database = Database(open_engine(postgres.async_url, DatabaseSettings(statement_timeout_s=60)))
    async with database.write() as uow:
        await record_heartbeat(
            uow, WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": SLOTS}, serves=("animatic",)), lease_s=HOUR_S
        )
    print(f"{'queued':>8}" + "".join(f"{name + ' ms':>12}" for name in QUERIES))
    for count in counts:
        await fill(database, count)
        async with database.write() as uow:
            plan = await plan_dispatch(uow.session, "gpu", prefetch_multiplier=2)
            await mark_dispatched(uow, plan.enqueue)
        async with database.write() as uow:
            await uow.session.execute(text("ANALYZE"))
        durations_ms = [await measure_ms(database, query) for query in QUERIES.values()]
        print(f"{count:>8}" + "".join(f"{ms:>12.1f}" for ms in durations_ms), flush=True)
    for name, query in QUERIES.items():
        for line in await explain(database, query):
            print(name, line)
    await database.close()


if __name__ == "__main__":
    with PrivatePostgres.running() as private:
        asyncio.run(measure(private, [int(count) for count in sys.argv[1:]] or [100, 2000, 10_000]))
