"""More callers ask for queue positions than the database has connections."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL

from builders import claim_next, get_job, submit_reel
from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.settings import DatabaseSettings


@pytest.fixture
async def database(postgres_url: URL) -> AsyncIterator[Database]:
    """Two connections at the most."""
    opened = Database(open_engine(postgres_url, DatabaseSettings(pool_size=1)))
    yield opened
    await opened.close()


async def test_no_caller_holds_the_connection_that_the_reader_of_the_queue_needs(database: Database) -> None:
    running, waiting = await submit_reel(database), await submit_reel(database)
    await claim_next(database)
    jobs = [await get_job(database, job_id) for job_id in (running, waiting)]
    queue_positions = QueuePositions(database)

    async def ask(count: int) -> None:
        await queue_positions.find(jobs[-count:])

    await asyncio.gather(*(ask(count) for count in (2, 2, 2, 1)))
