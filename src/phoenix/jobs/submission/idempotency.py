"""Requests that may arrive more than once and must take effect once. Each is recorded with the job that it made.

The record of a request with an idempotency key is written in the transaction that accepts the job, so that a refused
request leaves none. A request without a key is recorded only if its response was lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.db import UnitOfWork, UtcDateTime, db_now
from phoenix.errors import IdempotencyMismatch
from phoenix.jobs.tables import IdempotencyRow, JobRow

RETENTION_S = 24 * 3600

# The first of several concurrent requests inserts the row. The other requests wait: on PostgreSQL for its commit, on
# SQLite for the write lock.
_INSERT_KEY = text(
    "INSERT INTO idempotency_keys (owner_id, route, key, fingerprint, created_at) "
    "VALUES (:owner_id, :route, :key, :fingerprint, :created_at) ON CONFLICT DO NOTHING"
).bindparams(bindparam("created_at", type_=UtcDateTime()))


@dataclass(frozen=True)
class KeyedRequest:
    """One use of an idempotency key. Equal keys of different owners or routes are unrelated."""

    owner_id: str
    route: str
    key: str
    fingerprint: str

    @property
    def matches(self) -> ColumnElement[bool]:
        """The condition that selects the row of this key."""
        return (
            (col(IdempotencyRow.owner_id) == self.owner_id)
            & (col(IdempotencyRow.route) == self.route)
            & (col(IdempotencyRow.key) == self.key)
        )


async def find_earlier_job(session: AsyncSession, request: KeyedRequest) -> str | None:
    """Id of the job that this request made earlier. Raises `IdempotencyMismatch` if a different one used the key."""
    is_current = col(IdempotencyRow.created_at) > db_now(-RETENTION_S)
    row = (await session.scalars(select(IdempotencyRow).where(request.matches, is_current))).one_or_none()
    if row is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise IdempotencyMismatch
    return row.job_id


async def acquire_key(uow: UnitOfWork, request: KeyedRequest) -> str | None:
    """Acquires the key for this transaction. Returns the id of the earlier job if another request was first."""
    now = await uow.now()
    is_expired = col(IdempotencyRow.created_at) <= now - timedelta(seconds=RETENTION_S)
    await uow.session.execute(delete(IdempotencyRow).where(request.matches, is_expired))
    values: Mapping[str, Any] = {
        "owner_id": request.owner_id,
        "route": request.route,
        "key": request.key,
        "fingerprint": request.fingerprint,
        "created_at": now,
    }
    await uow.session.execute(_INSERT_KEY, values)
    return await find_earlier_job(uow.session, request)


async def record_job(uow: UnitOfWork, request: KeyedRequest, job_id: str) -> None:
    """Records the job that the request has made."""
    await uow.session.execute(update(IdempotencyRow).where(request.matches).values(job_id=job_id))


async def delete_old_keys(uow: UnitOfWork) -> None:
    """Deletes records older than `RETENTION_S`."""
    await uow.session.execute(delete(IdempotencyRow).where(col(IdempotencyRow.created_at) <= db_now(-RETENTION_S)))


RECOVERY_WINDOW_S = 15 * 60
"""Longer than the SDKs wait for a response before they retry, which is ten minutes."""

_PREFIX = "lost-response "


@dataclass(frozen=True)
class RequestIdentity:
    """The identity of a request without a key. An equal request may be a retry, and mean the same job."""

    owner_id: str
    route: str
    fingerprint: str


async def record_lost_response(uow: UnitOfWork, identity: RequestIdentity, job_id: str) -> None:
    """Records a job whose client did not get the response."""
    uow.session.add(
        IdempotencyRow(
            owner_id=identity.owner_id,
            route=_PREFIX + identity.route,
            key=job_id,
            fingerprint=identity.fingerprint,
            job_id=job_id,
            created_at=await uow.now(),
        )
    )


async def recover_lost_response(uow: UnitOfWork, identity: RequestIdentity) -> str | None:
    """The id of the oldest recorded job of this request; None if there is none. Each job is returned once."""
    matches = (
        (col(IdempotencyRow.owner_id) == identity.owner_id)
        & (col(IdempotencyRow.route) == _PREFIX + identity.route)
        & (col(IdempotencyRow.fingerprint) == identity.fingerprint)
        & (col(IdempotencyRow.created_at) > await uow.now() - timedelta(seconds=RECOVERY_WINDOW_S))
    )
    oldest = (
        select(IdempotencyRow)
        .join(JobRow, col(JobRow.id) == col(IdempotencyRow.job_id))
        .where(matches)
        .order_by(col(IdempotencyRow.key))
        .limit(1)
        .with_for_update(of=IdempotencyRow, skip_locked=True)
    )
    row = (await uow.session.scalars(oldest)).one_or_none()
    if row is None:
        return None
    await uow.session.delete(row)
    return row.job_id
