"""A row that a newer version wrote, in a state this one does not know, keeps nobody else from anything."""

import pytest
from sqlalchemy import text

from builders import OWNER, claim_next, submit_reel
from phoenix.db.unit_of_work import Database
from phoenix.errors import Unavailable
from phoenix.jobs.execution.recovery import list_expired_leases, list_overdue
from phoenix.jobs.metrics import read_gauges
from phoenix.jobs.repository import JobFilter, get_job, list_jobs
from phoenix.jobs.scheduling.dispatch import plan_dispatch
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat

FROM_THE_FUTURE = "paused"
WORKER = WorkerReport("wrk_1", "host", 1, "cpu", slots={"gpu": 4}, serves=("animatic",))


@pytest.fixture
async def newer(database: Database) -> str:
    """A job that is, with its tasks, in a state from the future."""
    async with database.write() as uow:
        await record_heartbeat(uow, WORKER, lease_s=60)
    job_id = await submit_reel(database)
    async with database.write() as uow:
        for table, column in (("jobs", "id"), ("tasks", "job_id")):
            statement = text(f"UPDATE {table} SET state = '{FROM_THE_FUTURE}' WHERE {column} = :id")
            await uow.session.execute(statement, {"id": job_id})
    return job_id


@pytest.fixture
async def ours(database: Database, newer: str) -> str:
    """A job of this version, beside one of a newer one."""
    return await submit_reel(database)


async def test_the_others_are_dispatched(database: Database, ours: str) -> None:
    async with database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=2)
    assert [task.job_id for task in plan.enqueue] == [ours]


async def test_the_others_are_claimed(database: Database, ours: str) -> None:
    assert (await claim_next(database)).job_id == ours


async def test_the_others_are_listed(database: Database, ours: str) -> None:
    page = await list_jobs(database, JobFilter(), owner_id=OWNER, limit=10, cursor=None)
    assert [job.row.id for job in page.jobs] == [ours]


@pytest.mark.usefixtures("ours")
async def test_the_lease_reaper_goes_on(database: Database) -> None:
    async with database.read() as session:
        assert [list(await list_expired_leases(session)), list(await list_overdue(session))] == [[], []]


async def test_who_asks_for_the_row_is_sent_to_a_newer_replica(database: Database, newer: str) -> None:
    async with database.read() as session:
        with pytest.raises(Unavailable, match="newer version"):
            await get_job(session, newer, owner_id=OWNER)


@pytest.mark.usefixtures("ours", "newer")
async def test_the_row_is_counted(database: Database) -> None:
    async with database.read() as session:
        jobs = (await read_gauges(session)).jobs
    assert (jobs["queued"], jobs[FROM_THE_FUTURE]) == (1, 1)
