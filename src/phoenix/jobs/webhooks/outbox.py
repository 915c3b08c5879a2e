"""The outbox of webhooks: a delivery is written in the transaction of its event. It can be listed and replayed.

`deliveries` has the other side: which deliveries are due, and how each attempt ended.
"""

from collections.abc import Sequence
from datetime import datetime

import httpx
from sqlalchemy import bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract import (
    WEBHOOK_EVENT_TYPES,
    DurableEvent,
    JobError,
    JobExpired,
    JobFailed,
    JobSucceeded,
    WebhookData,
    WebhookPayload,
)
from phoenix.db import UnitOfWork, UtcDateTime, db_now
from phoenix.errors import NotFound
from phoenix.ids import new_delivery_id
from phoenix.jobs.tables import JobRow
from phoenix.jobs.webhooks.tables import DeliveryState, WebhookDeliveryRow, WebhookRefusalRow

MAX_PAYLOAD_BYTES = 20_000
_LONGEST_MESSAGE = 2000


def make_payload(job: JobRow, event: DurableEvent) -> WebhookPayload:
    """The body to send. The job's metadata is left out if the body would exceed `MAX_PAYLOAD_BYTES`."""
    data = WebhookData(
        job_id=job.id,
        seq=event.seq,
        kind=job.kind,  # pyright: ignore[reportArgumentType]
        state=job.state,
        metadata=job.options.get("metadata") or {},
        output=event.output if isinstance(event, JobSucceeded) else None,
        error=_shortened(event.error) if isinstance(event, JobFailed | JobExpired) else None,
        timings=event.timings if isinstance(event, JobSucceeded) else None,
    )
    payload = WebhookPayload.model_validate({"type": event.type, "timestamp": event.at, "data": data})
    if len(payload.model_dump_json().encode()) < MAX_PAYLOAD_BYTES:
        return payload
    return payload.model_copy(update={"data": data.model_copy(update={"metadata": {}})})


def _shortened(error: JobError) -> JobError:
    return error.model_copy(update={"message": error.message[:_LONGEST_MESSAGE]})


RETENTION_S = 90 * 24 * 3600
"""After this time, a URL that still refuses gets one more request, which it can answer with 410 again."""

# Several deliveries to one URL may be answered at the same time.
_INSERT = text(
    "INSERT INTO webhook_refusals (owner_id, url, refused_at) VALUES (:owner_id, :url, :refused_at) "
    "ON CONFLICT (owner_id, url) DO NOTHING"
).bindparams(bindparam("refused_at", type_=UtcDateTime()))


async def has_refused(session: AsyncSession, owner_id: str, url: str) -> bool:
    """Whether the URL has answered 410 to a delivery of this owner."""
    return await session.get(WebhookRefusalRow, (owner_id, url)) is not None


async def insert_refusal(uow: UnitOfWork, owner_id: str, url: str) -> None:
    """Records that a URL refuses an owner's webhooks. Harmless if repeated."""
    await uow.session.execute(_INSERT, {"owner_id": owner_id, "url": url, "refused_at": await uow.now()})


async def delete_refusal(uow: UnitOfWork, owner_id: str, url: str) -> None:
    """Removes the record of a refusal. Harmless if there is none."""
    refusal = (col(WebhookRefusalRow.owner_id) == owner_id) & (col(WebhookRefusalRow.url) == url)
    await uow.session.execute(delete(WebhookRefusalRow).where(refusal))


async def delete_old_refusals(uow: UnitOfWork) -> None:
    """Deletes refusals that are older than `RETENTION_S`."""
    old = delete(WebhookRefusalRow).where(col(WebhookRefusalRow.refused_at) < db_now(-RETENTION_S))
    await uow.session.execute(old.execution_options(synchronize_session=False))


async def queue_delivery(uow: UnitOfWork, job: JobRow, event: DurableEvent) -> None:
    """Writes the delivery of this event, if the job asked for one."""
    webhook = job.options.get("webhook")
    if webhook is None or event.type not in (webhook["events"] or WEBHOOK_EVENT_TYPES):
        return
    now, url = await uow.now(), webhook["url"]
    is_refused = await has_refused(uow.session, job.owner_id, url)
    row = WebhookDeliveryRow(
        id=new_delivery_id(),
        job_id=job.id,
        seq=event.seq,
        owner_id=job.owner_id,
        url=url,
        target=target_of(url),
        type=event.type,
        payload=make_payload(job, event).model_dump(mode="json"),
        state=DeliveryState.FAILED if is_refused else DeliveryState.PENDING,
        next_at=now,
        last_error="Not sent: this URL answered 410 before." if is_refused else None,
        created_at=now,
        finished_at=now if is_refused else None,
    )
    # A new job must be written before a row that refers to it.
    await uow.session.flush()
    uow.session.add(row)


def target_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


async def list_deliveries(
    session: AsyncSession, *, owner_id: str, job_id: str | None, before_id: str | None, limit: int
) -> Sequence[WebhookDeliveryRow]:
    """The owner's deliveries, newest first."""
    statement = select(WebhookDeliveryRow).where(col(WebhookDeliveryRow.owner_id) == owner_id)
    if job_id is not None:
        statement = statement.where(col(WebhookDeliveryRow.job_id) == job_id)
    if before_id is not None:
        statement = statement.where(col(WebhookDeliveryRow.id) < before_id)
    return (await session.scalars(statement.order_by(col(WebhookDeliveryRow.id).desc()).limit(limit))).all()


async def replay(uow: UnitOfWork, delivery_id: str, *, owner_id: str) -> WebhookDeliveryRow:
    """Queues a delivery again with all its attempts, even if its URL has refused. Raises `NotFound`."""
    row = await uow.session.get(WebhookDeliveryRow, delivery_id, with_for_update=True)
    if row is None or row.owner_id != owner_id:
        raise NotFound(f"There is no delivery {delivery_id}.")
    await delete_refusal(uow, owner_id, row.url)
    if row.state is not DeliveryState.PENDING:
        row.attempts = 0
    row.state, row.finished_at = DeliveryState.PENDING, None
    row.next_at = await uow.now()
    return row


def next_attempt_at(row: WebhookDeliveryRow) -> datetime | None:
    """When a pending delivery is sent next; None for a delivery that has ended."""
    return row.next_at if row.state is DeliveryState.PENDING else None
