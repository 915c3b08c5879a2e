"""Which deliveries are due, and how each attempt ended. `api.webhooks` sends them.

A claimed delivery is leased: another sender takes over if its sender dies.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import UnitOfWork, db_now
from phoenix.jobs.tables import JobRow
from phoenix.jobs.webhooks.outbox import insert_refusal
from phoenix.jobs.webhooks.tables import DeliveryState, WebhookDeliveryRow

_MAX_SCANNED = 200


@dataclass(frozen=True)
class DueDelivery:
    """A claimed delivery, which its sender should send now."""

    id: str
    owner_id: str
    url: str
    target: str
    body: bytes
    attempt: int
    """The number of this attempt, from 1."""
    request_id: str | None = None
    """Id of the request that made the job. `traceparent` is the trace of the same request."""
    traceparent: str | None = None


async def has_due(session: AsyncSession, *, busy_targets: Collection[str]) -> bool:
    """Whether there is anything to claim. Takes no lock."""
    statement = select(col(WebhookDeliveryRow.id)).where(*_is_due(busy_targets))
    return (await session.scalars(statement.limit(1))).first() is not None


async def claim_due(
    uow: UnitOfWork, *, limit: int, per_target: int, in_flight: Counter[str], lease_s: float
) -> list[DueDelivery]:
    """Claims up to `limit` deliveries, the longest due first. At most `per_target` of one target are in flight."""
    busy = [target for target, count in in_flight.items() if count >= per_target]
    statement = (
        select(WebhookDeliveryRow)
        .where(*_is_due(busy))
        .order_by(col(WebhookDeliveryRow.next_at))
        .limit(_MAX_SCANNED)
        .with_for_update(skip_locked=True)
    )
    counts, claimed = in_flight.copy(), list[WebhookDeliveryRow]()
    lease_until = await uow.now() + timedelta(seconds=lease_s)
    for row in await uow.session.scalars(statement):
        if len(claimed) < limit and counts[row.target] < per_target:
            counts[row.target] += 1
            # Counted before sending: a sender that is lost may have sent it.
            row.attempts += 1
            row.next_at = lease_until
            claimed.append(row)
    return await _with_causes(uow.session, claimed)


def _is_due(busy_targets: Collection[str]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        col(WebhookDeliveryRow.state) == DeliveryState.PENDING,
        col(WebhookDeliveryRow.next_at) <= db_now(0),
    ]
    if busy_targets:
        conditions.append(col(WebhookDeliveryRow.target).not_in(busy_targets))
    return conditions


async def _with_causes(session: AsyncSession, rows: Sequence[WebhookDeliveryRow]) -> list[DueDelivery]:
    if not rows:
        return []
    statement = select(col(JobRow.id), col(JobRow.request_id), col(JobRow.traceparent)).where(
        col(JobRow.id).in_({row.job_id for row in rows})
    )
    causes = {job_id: (request_id, trace) for job_id, request_id, trace in await session.execute(statement)}
    return [_due(row, *causes[row.job_id]) for row in rows]


def _due(row: WebhookDeliveryRow, request_id: str | None, traceparent: str | None) -> DueDelivery:
    # Not parsed: only a newer version may be able to read it.
    body = json.dumps(row.payload, ensure_ascii=False, separators=(",", ":")).encode()
    return DueDelivery(row.id, row.owner_id, row.url, row.target, body, row.attempts, request_id, traceparent)


async def record_success(uow: UnitOfWork, due: DueDelivery, status: int) -> None:
    """Ends the delivery as succeeded. Does nothing if the sender has lost it."""
    row = await _find_claimed(uow, due)
    if row is not None:
        row.last_status, row.last_error = status, None
        await _end(uow, row, DeliveryState.SUCCEEDED)


async def record_failure(
    uow: UnitOfWork, due: DueDelivery, *, status: int | None, error: str, retry_in_s: float | None
) -> None:
    """Postpones the delivery by `retry_in_s`, or ends it as failed if `retry_in_s` is None."""
    row = await _find_claimed(uow, due)
    if row is None:
        return
    row.last_status, row.last_error = status, error
    if retry_in_s is None:
        await _end(uow, row, DeliveryState.FAILED)
    else:
        row.next_at = await uow.now() + timedelta(seconds=retry_in_s)


async def record_refusal(uow: UnitOfWork, due: DueDelivery, status: int) -> None:
    """Records that the URL answered 410, and ends all pending deliveries of the owner to this URL as failed."""
    await insert_refusal(uow, due.owner_id, due.url)
    waiting = select(WebhookDeliveryRow).where(
        col(WebhookDeliveryRow.state) == DeliveryState.PENDING,
        col(WebhookDeliveryRow.owner_id) == due.owner_id,
        col(WebhookDeliveryRow.url) == due.url,
    )
    for row in await uow.session.scalars(waiting.order_by(col(WebhookDeliveryRow.id)).with_for_update()):
        row.last_status, row.last_error = status, "The target wants no more: it answered 410."
        await _end(uow, row, DeliveryState.FAILED)


async def _find_claimed(uow: UnitOfWork, due: DueDelivery) -> WebhookDeliveryRow | None:
    """The row, unless its job was deleted or another sender has claimed the delivery since."""
    statement = select(WebhookDeliveryRow).where(
        col(WebhookDeliveryRow.id) == due.id,
        col(WebhookDeliveryRow.attempts) == due.attempt,
        col(WebhookDeliveryRow.state) == DeliveryState.PENDING,
    )
    return (await uow.session.scalars(statement.with_for_update())).one_or_none()


async def _end(uow: UnitOfWork, row: WebhookDeliveryRow, state: DeliveryState) -> None:
    row.state = state
    row.finished_at = await uow.now()
