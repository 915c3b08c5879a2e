"""Jobs whose client disconnected before the response: kept for its next try, which gets the job instead of a second.

For clients that mark retries as such, but send no Idempotency-Key.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.tables import IdempotencyRow, JobRow

KEPT_S = 15 * 60
"""Longer than the SDKs wait for an answer before they try again: ten minutes."""

_PREFIX = "unanswered "


@dataclass(frozen=True)
class Asked:
    """The identity of a request: the same one again may mean the same job."""

    owner_id: str
    route: str
    fingerprint: str


async def leave(uow: UnitOfWork, asked: Asked, job_id: str) -> None:
    """Records a job that its client does not know of."""
    uow.session.add(
        IdempotencyRow(
            owner_id=asked.owner_id,
            route=_PREFIX + asked.route,
            key=job_id,
            fingerprint=asked.fingerprint,
            job_id=job_id,
            created_at=await uow.now(),
        )
    )


async def adopt(uow: UnitOfWork, asked: Asked) -> str | None:
    """Takes the oldest recorded job of this request; each is given out once."""
    left = (
        (col(IdempotencyRow.owner_id) == asked.owner_id)
        & (col(IdempotencyRow.route) == _PREFIX + asked.route)
        & (col(IdempotencyRow.fingerprint) == asked.fingerprint)
        & (col(IdempotencyRow.created_at) > await uow.now() - timedelta(seconds=KEPT_S))
    )
    oldest = (
        select(IdempotencyRow)
        .join(JobRow, col(JobRow.id) == col(IdempotencyRow.job_id))
        .where(left)
        .order_by(col(IdempotencyRow.key))
        .limit(1)
        .with_for_update(of=IdempotencyRow, skip_locked=True)
    )
    row = (await uow.session.scalars(oldest)).one_or_none()
    if row is None:
        return None
    await uow.session.delete(row)
    return row.job_id
