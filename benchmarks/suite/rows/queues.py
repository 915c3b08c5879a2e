"""What the queries of dispatcher, lease reaper and queue positions cost with 10,000 waiting jobs, compared with 100.

On the clock, on two databases of one PostgreSQL, which take turns. 64 slots, 10 keys.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from sqlalchemy import text
from sqlalchemy.engine import URL

from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.recovery import list_expired_leases, list_overdue
from phoenix.jobs.repository import list_waiting
from phoenix.jobs.scheduling.dispatch import mark_dispatched, plan_dispatch
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.settings import DatabaseSettings
from suite.borrowed import PrivatePostgres
from suite.filling import fill
from suite.groups import Group
from suite.results import Measurement, Round, Row

FEW, MANY = 100, 10_000
_SLOTS = 64
_REPEATS = 5
_HOUR_S = 3600.0
Query = Callable[[Database], Awaitable[object]]


async def plan_next(database: Database) -> object:
    async with database.read() as session:
        return await plan_dispatch(session, "gpu", prefetch_multiplier=2)


async def find_expired(database: Database) -> object:
    async with database.read() as session:
        return await list_expired_leases(session), await list_overdue(session)


async def find_positions(database: Database) -> object:
    async with database.read() as session:
        jobs = await list_waiting(session, job_ids=[], owner_ids=["key_0"], limit=200)
    return await QueuePositions(database).find(jobs)


_QUERIES: Mapping[str, Query] = {
    "queue-dispatcher": plan_next,
    "queue-reaper": find_expired,
    "queue-positions": find_positions,
}
_TITLES = {
    "queue-dispatcher": "a round of the dispatcher, 10,000 waiting jobs",
    "queue-reaper": "a round of the lease reaper, 10,000 waiting jobs",
    "queue-positions": "the positions of 200 followed jobs, 10,000 waiting jobs",
}
ROWS = tuple(Row(name, title, "ms", "with 100 waiting jobs", 2.0) for name, title in _TITLES.items())


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    with ExitStack() as stack:
        urls = [stack.enter_context(PrivatePostgres.running()).async_url for _ in (FEW, MANY)]
        found = asyncio.run(_measure(urls, [row.name for row in rows], rounds))
    for row in rows:
        yield Measurement(row, found[row.name])


async def _measure(urls: Sequence[URL], names: Sequence[str], rounds: int) -> Mapping[str, list[Round]]:
    few, many = [await _open_filled(url, count) for url, count in zip(urls, (FEW, MANY), strict=True)]
    found: dict[str, list[Round]] = {name: [] for name in names}
    for name in names:
        await _query_ms(few, _QUERIES[name])
        await _query_ms(many, _QUERIES[name])
        for _ in range(rounds):
            few_ms = await _query_ms(few, _QUERIES[name])
            found[name].append(Round(await _query_ms(many, _QUERIES[name]), few_ms))
    await few.close()
    await many.close()
    return found


async def _open_filled(url: URL, count: int) -> Database:
    """With so many waiting jobs, and the first of them dispatched."""
    database = Database(open_engine(url, DatabaseSettings(statement_timeout_s=60)))
    report = WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": _SLOTS}, serves=("animatic",))
    async with database.write() as uow:
        await record_heartbeat(uow, report, lease_s=_HOUR_S)
    await fill(database, count)
    async with database.write() as uow:
        plan = await plan_dispatch(uow.session, "gpu", prefetch_multiplier=2)
        await mark_dispatched(uow, plan.enqueue)
    async with database.write() as uow:
        await uow.session.execute(text("ANALYZE"))
    return database


async def _query_ms(database: Database, query: Query) -> float:
    durations_ms: list[float] = []
    for _ in range(_REPEATS):
        began_s = time.perf_counter()
        await query(database)
        durations_ms.append(1000 * (time.perf_counter() - began_s))
    return statistics.median(durations_ms)


GROUP = Group("queue", ROWS, measure)
