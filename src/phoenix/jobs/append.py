"""Appends a row to the durable log, and numbers it among the events of all jobs of its owner."""

from typing import cast

from sqlalchemy import Table, bindparam, insert, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from phoenix.contract.events import DurableEvent
from phoenix.jobs.tables import EventRow, OwnerRow

_OWNERS, _EVENTS = (cast("Table", inspect(row).local_table) for row in (OwnerRow, EventRow))
_GIVEN = [column for column in _EVENTS.columns if column.name != "owner_seq"]


def _next_of_owner(make: type[postgresql.Insert] | type[sqlite.Insert]) -> ReturningInsert[int]:
    """Locks the owner's row until the commit.

    So whoever sees a number can also see all lower ones, which is what lets a client resume after it.
    """
    return (
        make(_OWNERS)
        .values(id=bindparam("owner_id"), last_seq=1)
        .on_conflict_do_update(index_elements=["id"], set_={"last_seq": _OWNERS.c.last_seq + 1})
        .returning(_OWNERS.c.last_seq)
    )


_numbered = _next_of_owner(postgresql.Insert).cte("numbered")
# In one statement where the database can: the owner's other submits wait while the row is locked, and a replica under
# load takes some milliseconds between two statements.
_APPEND_AT_ONCE = (
    insert(_EVENTS)
    .from_select(
        [*(column.name for column in _GIVEN), "owner_seq"],
        select(*(bindparam(column.name, type_=column.type) for column in _GIVEN), _numbered.c.last_seq),
    )
    .returning(_EVENTS.c.owner_seq)
)
_NUMBER, _APPEND = _next_of_owner(sqlite.Insert), insert(_EVENTS)


async def append(session: AsyncSession, event: DurableEvent, owner_id: str) -> int:
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
        return (await session.execute(_APPEND_AT_ONCE, row)).scalar_one()
    owner_seq: int = (await session.execute(_NUMBER, {"owner_id": owner_id})).scalar_one()
    await session.execute(_APPEND, {**row, "owner_seq": owner_seq})
    return owner_seq
