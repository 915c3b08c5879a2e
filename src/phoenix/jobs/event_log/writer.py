"""Appends events to the durable log: an event is written in the transaction of its change and published after it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import bindparam, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from phoenix.contract import DurableEvent
from phoenix.db import UnitOfWork, table_of
from phoenix.events.messages import EventEnvelope
from phoenix.jobs.tables import EventRow, JobRow, OwnerRow
from phoenix.jobs.webhooks.outbox import queue_delivery

_OWNERS, _EVENTS = table_of(OwnerRow), table_of(EventRow)
_GIVEN_COLUMNS = [column for column in _EVENTS.columns if column.name != "owner_seq"]


def _next_owner_seq(make: type[postgresql.Insert] | type[sqlite.Insert]) -> ReturningInsert[int]:
    """Takes the owner's next number, and locks the owner's row until the commit.

    A reader that sees a number therefore sees all lower numbers, so that a client can resume after it.
    """
    return (
        make(_OWNERS)
        .values(id=bindparam("owner_id"), last_seq=1)
        .on_conflict_do_update(index_elements=["id"], set_={"last_seq": _OWNERS.c.last_seq + 1})
        .returning(_OWNERS.c.last_seq)
    )


_numbered = _next_owner_seq(postgresql.Insert).cte("numbered")
# One statement where the database can: the owner's other submits wait while the row is locked, and a replica under
# load takes some milliseconds between two statements.
_INSERT_NUMBERED = (
    insert(_EVENTS)
    .from_select(
        [*(column.name for column in _GIVEN_COLUMNS), "owner_seq"],
        select(*(bindparam(column.name, type_=column.type) for column in _GIVEN_COLUMNS), _numbered.c.last_seq),
    )
    .returning(_EVENTS.c.owner_seq)
)
_NEXT_OWNER_SEQ, _INSERT = _next_owner_seq(sqlite.Insert), insert(_EVENTS)


async def insert_event(session: AsyncSession, event: DurableEvent, owner_id: str) -> int:
    """Inserts an event and returns its number in the owner's log, from 1.

    Call it last in a transaction: until the commit, the owner's other transactions wait.
    """
    row = {
        "job_id": event.job_id,
        "seq": event.seq,
        "owner_id": owner_id,
        "type": event.type,
        "at": event.at,
        "data": event.model_dump(mode="json"),
    }
    if session.get_bind().dialect.name == "postgresql":
        return (await session.execute(_INSERT_NUMBERED, row)).scalar_one()
    owner_seq: int = (await session.execute(_NEXT_OWNER_SEQ, {"owner_id": owner_id})).scalar_one()
    await session.execute(_INSERT, {**row, "owner_seq": owner_seq})
    return owner_seq


class EventFactory(Protocol):
    """An event class with its payload already bound: `partial(JobFailed, error=…)`."""

    def __call__(self, *, job_id: str, seq: int, at: datetime) -> DurableEvent: ...


async def append_event(uow: UnitOfWork, job: JobRow, make_event: EventFactory) -> None:
    """Appends one event. The caller holds the lock on the job's row, so that numbers neither repeat nor leave gaps."""
    job.last_seq += 1
    event = make_event(job_id=job.id, seq=job.last_seq, at=await uow.now())
    uow.before_commit(_AppendedEvent(event, job.owner_id))
    await queue_delivery(uow, job, event)


@dataclass(frozen=True)
class _AppendedEvent:
    """An event that gets its number in the owner's log just before the commit, and is published after it."""

    event: DurableEvent
    owner_id: str

    async def run(self, uow: UnitOfWork) -> None:
        number = await insert_event(uow.session, self.event, self.owner_id)
        uow.publish_after_commit(EventEnvelope(self.event, self.owner_id, number))
