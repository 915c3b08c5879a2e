"""A URL that answers 410 to several deliveries at once, on PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL, select, text
from sqlmodel import col

from builders import OWNER, submit_reel
from phoenix.contract import JobOptions
from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.webhooks.deliveries import DueDelivery, claim_due, record_refusal
from phoenix.jobs.webhooks.tables import DeliveryState, WebhookDeliveryRow
from phoenix.settings import DatabaseSettings

OPTIONS = JobOptions.model_validate({"webhook": {"url": "https://example.com/hook"}})
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@pytest.fixture
async def database(postgres_url: URL) -> AsyncIterator[Database]:
    opened = Database(open_engine(postgres_url, DatabaseSettings()))
    yield opened
    await opened.close()


async def claim_two(database: Database) -> list[DueDelivery]:
    for _ in range(2):
        job_id = await submit_reel(database, options=OPTIONS)
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id=OWNER)
    async with database.write() as uow:
        return await claim_due(uow, limit=2, per_target=2, in_flight=Counter(), lease_s=60)


async def test_two_that_note_it_at_once_both_do(database: Database) -> None:
    first, second = await claim_two(database)

    async def note_the_second() -> None:
        async with database.write() as uow:
            await record_refusal(uow, second, 410)

    async with database.write() as uow:
        await record_refusal(uow, first, 410)
        await uow.session.flush()
        noting = asyncio.create_task(note_the_second())
        async with asyncio.timeout(100):
            while not (await uow.session.execute(WAITING)).scalar_one():  # noqa: ASYNC110 - locks cannot be awaited
                await asyncio.sleep(0.01)
    await noting

    async with database.read() as session:
        states = (await session.scalars(select(col(WebhookDeliveryRow.state)))).all()
    assert set(states) == {DeliveryState.FAILED}
