"""The durable log: numbers events, writes them in the transaction of their change, and publishes them after it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol, cast

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Table, bindparam, false, insert, inspect, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel import col

from phoenix.contract.events import DurableEvent
from phoenix.db.columns import NEWER_VERSION_RETRY_AFTER_S
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import NewerVersionError
from phoenix.events.log import LogHead
from phoenix.events.messages import EventEnvelope
from phoenix.jobs.tables import Document, EventRow, JobRow, OwnerRow
from phoenix.jobs.webhooks.outbox import queue_delivery
from phoenix.telemetry.logs import get_logger

_OWNERS, _EVENTS = (cast("Table", inspect(row).local_table) for row in (OwnerRow, EventRow))
_GIVEN_COLUMNS = [column for column in _EVENTS.columns if column.name != "owner_seq"]


def _next_owner_seq(make: type[postgresql.Insert] | type[sqlite.Insert]) -> ReturningInsert[int]:
    """Locks the owner's row until the commit.

    So whoever sees a number can also see all lower ones, which is what lets a client resume after it.
    """
    return (
        make(_OWNERS)
        .values(id=bindparam("owner_id"), last_seq=1)
        .on_conflict_do_update(index_elements=["id"], set_={"last_seq": _OWNERS.c.last_seq + 1})
        .returning(_OWNERS.c.last_seq)
    )


_numbered = _next_owner_seq(postgresql.Insert).cte("numbered")
# In one statement where the database can: the owner's other submits wait while the row is locked, and a replica under
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
    """Returns its number in the owner's log, from 1. Call it last in a transaction: it blocks the owner's others."""
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


_logger = get_logger(__name__)

_durable_event: TypeAdapter[DurableEvent] = TypeAdapter(DurableEvent)


class EventFactory(Protocol):
    """An event class with its payload already bound: `partial(JobFailed, error=…)`."""

    def __call__(self, *, job_id: str, seq: int, at: datetime) -> DurableEvent: ...


_IDS_PER_QUERY = 5000
"""Both databases limit a statement to about 32,000 parameters."""


async def append_event(uow: UnitOfWork, job: JobRow, make_event: EventFactory) -> None:
    """Appends one event. The caller holds the lock on the job's row, so that numbers neither repeat nor leave gaps."""
    job.last_seq += 1
    event = make_event(job_id=job.id, seq=job.last_seq, at=await uow.now())
    uow.before_commit(partial(_insert_and_publish, uow, event, job.owner_id))
    await queue_delivery(uow, job, event)


async def _insert_and_publish(uow: UnitOfWork, event: DurableEvent, owner_id: str) -> None:
    uow.publish_after_commit(EventEnvelope(event, owner_id, await insert_event(uow.session, event, owner_id)))


def _read_event(data: Document) -> DurableEvent:
    """Raises `NewerVersionError` for one that this version cannot have written."""
    try:
        return _durable_event.validate_python(data)
    except ValidationError:
        _logger.warning("an event of a newer version was met", job_id=data.get("job_id"), type=data.get("type"))
        raise NewerVersionError(retry_after_s=NEWER_VERSION_RETRY_AFTER_S) from None


async def replay(session: AsyncSession, job_id: str, after_seq: int, limit: int = 1000) -> list[DurableEvent]:
    """The events after a number, oldest first."""
    statement = (
        select(col(EventRow.data))
        .where(col(EventRow.job_id) == job_id, col(EventRow.seq) > after_seq)
        .order_by(col(EventRow.seq))
        .limit(limit)
    )
    return [_read_event(data) for data in await session.scalars(statement)]


async def replay_many(
    session: AsyncSession, cursors: Collection[tuple[str, int]], limit: int
) -> dict[tuple[str, int], list[DurableEvent]]:
    """Like `replay`, for many (job id, number) in one query: gapless numbers let a range bound each one's rows."""
    wanted = [
        (col(EventRow.job_id) == job_id) & col(EventRow.seq).between(after + 1, after + limit)
        for job_id, after in cursors
    ]
    statement = select(col(EventRow.data)).where(or_(false(), *wanted)).order_by(col(EventRow.seq))
    of_job: dict[str, list[DurableEvent]] = {}
    for data in await session.scalars(statement):
        event = _read_event(data)
        of_job.setdefault(event.job_id, []).append(event)
    return {
        (job_id, after): [event for event in of_job.get(job_id, ()) if after < event.seq <= after + limit]
        for job_id, after in cursors
    }


async def replay_owner(
    session: AsyncSession, owner_id: str, after_owner_seq: int, limit: int
) -> list[tuple[int, DurableEvent]]:
    """Events of all of an owner's jobs after a number in the owner's log, oldest first, each with its number."""
    statement = (
        select(col(EventRow.owner_seq), col(EventRow.data))
        .where(col(EventRow.owner_id) == owner_id, col(EventRow.owner_seq) > after_owner_seq)
        .order_by(col(EventRow.owner_seq))
        .limit(limit)
    )
    rows = await session.execute(statement)
    return [(owner_seq, _read_event(data)) for owner_seq, data in rows]


async def read_owner_log_heads(session: AsyncSession, owner_ids: Collection[str]) -> Mapping[str, int]:
    """The last number of each owner; one that never had a job is left out."""
    statement = select(col(OwnerRow.id), col(OwnerRow.last_seq)).where(col(OwnerRow.id).in_(owner_ids))
    rows = await session.execute(statement)
    return dict(rows.all())


async def read_log_heads(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, LogHead]:
    """The head of the log of each job that still exists, in one query for thousands of them."""
    found: dict[str, LogHead] = {}
    for first in range(0, len(job_ids), _IDS_PER_QUERY):
        statement = select(col(JobRow.id), col(JobRow.last_seq), col(JobRow.state), col(JobRow.owner_id)).where(
            col(JobRow.id).in_(job_ids[first : first + _IDS_PER_QUERY])
        )
        for job_id, seq, state, owner_id in await session.execute(statement):
            found[job_id] = LogHead(seq, state.is_terminal, owner_id)
    return found
