"""The durable log: numbers an event, writes it with the change it tells of, and announces it for after the commit."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.events import DurableEvent
from phoenix.contract.jobs import JobState
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.announcements import EventRecorded
from phoenix.jobs.tables import EventRow, JobRow

_durable_event: TypeAdapter[DurableEvent] = TypeAdapter(DurableEvent)


class EventFactory(Protocol):
    """An event class with its payload already bound: `partial(JobFailed, error=…)`."""

    def __call__(self, *, job_id: str, seq: int, at: datetime) -> DurableEvent: ...


async def record(uow: UnitOfWork, job: JobRow, make_event: EventFactory) -> None:
    """Appends one event. The caller holds the job's row, so that the numbers have no gap and no repeat."""
    job.last_seq += 1
    event = make_event(job_id=job.id, seq=job.last_seq, at=await uow.now())
    uow.session.add(
        EventRow(job_id=job.id, seq=event.seq, type=event.type, at=event.at, data=event.model_dump(mode="json"))
    )
    uow.announce(EventRecorded(event))


async def replay(session: AsyncSession, job_id: str, after_seq: int, limit: int = 1000) -> list[DurableEvent]:
    """The events after a number, oldest first."""
    statement = (
        select(col(EventRow.data))
        .where(col(EventRow.job_id) == job_id, col(EventRow.seq) > after_seq)
        .order_by(col(EventRow.seq))
        .limit(limit)
    )
    return [_durable_event.validate_python(data) for data in await session.scalars(statement)]


async def tails(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, tuple[int, JobState]]:
    """The last number and the state of each job that still exists, in one query."""
    statement = select(col(JobRow.id), col(JobRow.last_seq), col(JobRow.state)).where(col(JobRow.id).in_(job_ids))
    return {job_id: (seq, state) for job_id, seq, state in (await session.execute(statement))}
