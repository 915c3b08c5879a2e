"""The audit log: who did what to which key, job, worker, model or queue, when, and with what outcome.

An act and its entry are one transaction, so there is no act without an entry. A refused act has an entry of its own.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlmodel import col

from phoenix.access.tables import AuditRow
from phoenix.contract.steering import AuditEntry
from phoenix.db import Database, UnitOfWork, db_now, detached, table_of
from phoenix.errors import RequestError, Unavailable
from phoenix.ids import new_audit_id
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)
_BATCH = 1000


@dataclass(frozen=True)
class Actor:
    """Who acts: the key and the client's address of a request, or the account that runs a command on the server."""

    key_id: str | None = None
    address: str | None = None
    account: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Act:
    """One act. `target`: id or name of what is acted on. `affected_id`: id of the key that owns it, if one does."""

    actor: Actor
    action: str
    target: str
    affected_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


DONE = "done"


async def record_act(uow: UnitOfWork, act: Act, *, outcome: str = DONE) -> None:
    """Adds the entry of an act to the transaction that acts. `outcome`: `done`, or the code of the refusal."""
    actor = act.actor
    row = AuditRow(
        id=new_audit_id(),
        at=await uow.now(),
        actor_id=actor.key_id,
        account=actor.account,
        address=actor.address,
        action=act.action,
        target=act.target,
        affected_id=act.affected_id,
        outcome=outcome,
        details=dict(act.details),
        request_id=actor.request_id,
    )
    uow.session.add(row)


@asynccontextmanager
async def audited_write(database: Database, act: Act, *, frees_space: bool = False) -> AsyncGenerator[UnitOfWork]:
    """A transaction that acts, with the entry of the act. An act that the block refuses gets an entry as well."""
    try:
        async with database.write(frees_space=frees_space) as uow:
            yield uow
            await record_act(uow, act)
    except Unavailable:
        # There is no database to write to, or the act is tried again.
        raise
    except RequestError as refusal:
        async with database.write() as uow:
            await record_act(uow, act, outcome=refusal.code)
        _log(act, refusal.code)
        raise
    _log(act, DONE)


def _log(act: Act, outcome: str) -> None:
    _logger.info("an administrator acted", action=act.action, target=act.target, outcome=outcome, by=act.actor.key_id)


@dataclass(frozen=True)
class AuditFilter:
    """Conditions on the entries of a page; None means any."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    owner: str | None = None
    after: datetime | None = None
    before: datetime | None = None


_AUDIT = table_of(AuditRow)


async def list_acts(
    database: Database, wanted: AuditFilter, *, limit: int, before_id: str | None
) -> tuple[Sequence[AuditEntry], bool]:
    """The newest `limit` entries, or those before the entry `before_id`, and whether there are more."""
    columns = _AUDIT.c
    equal = {columns.actor_id: wanted.actor, columns.action: wanted.action, columns.target: wanted.target}
    statement = select(*columns).where(*(column == value for column, value in equal.items() if value is not None))
    if wanted.owner is not None:
        statement = statement.where(columns.affected_id == wanted.owner)
    if wanted.after is not None:
        statement = statement.where(columns.at > wanted.after)
    if wanted.before is not None:
        statement = statement.where(columns.at < wanted.before)
    if before_id is not None:
        statement = statement.where(columns.id < before_id)
    found = await database.fetch(statement.order_by(columns.id.desc()).limit(limit + 1))
    rows = [detached(AuditRow, values) for values in found]
    return [_view(row) for row in rows[:limit]], len(rows) > limit


def _view(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=row.actor_id,
        account=row.account,
        address=row.address,
        action=row.action,
        target=row.target,
        owner=row.affected_id,
        outcome=row.outcome,
        details=row.details,
        request_id=row.request_id,
    )


async def delete_old_acts(uow: UnitOfWork, *, older_than_s: float) -> int:
    """Deletes a batch of entries older than `older_than_s`. Returns how many."""
    old = select(_AUDIT.c.id).where(_AUDIT.c.at < db_now(-older_than_s)).limit(_BATCH)
    found = (await uow.session.scalars(old)).all()
    await uow.session.execute(delete(AuditRow).where(col(AuditRow.id).in_(found)))
    return len(found)
