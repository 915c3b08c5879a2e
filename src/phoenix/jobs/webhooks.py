"""The outbox of webhooks: deliveries are written in the transaction of their event, listed, and queued again.

Which of them are due, and what came of each, is the part of `webhook_sending`.
"""

from collections.abc import Sequence
from datetime import datetime

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.events import TERMINAL_EVENT_TYPES, DurableEvent
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import NotFound
from phoenix.ids import new_delivery_id
from phoenix.jobs.tables import JobRow
from phoenix.jobs.webhook_payload import make_payload
from phoenix.jobs.webhook_refusals import has_refused, lift_refusal
from phoenix.jobs.webhook_tables import DeliveryState, WebhookDeliveryRow


async def queue_delivery(uow: UnitOfWork, job: JobRow, event: DurableEvent) -> None:
    """Writes the delivery of this event, if the job asked for one."""
    webhook = job.options.get("webhook")
    if webhook is None or event.type not in (webhook["events"] or TERMINAL_EVENT_TYPES):
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
    # The job may be new, and must be written before a row that refers to it.
    await uow.session.flush()
    uow.session.add(row)


def target_of(url: str) -> str:
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
    """Queues a delivery again with all its tries, even if its URL had refused. Raises `NotFound`."""
    row = await uow.session.get(WebhookDeliveryRow, delivery_id, with_for_update=True)
    if row is None or row.owner_id != owner_id:
        raise NotFound(f"There is no delivery {delivery_id}.")
    await lift_refusal(uow, owner_id, row.url)
    if row.state is not DeliveryState.PENDING:
        row.attempts = 0
    row.state, row.finished_at = DeliveryState.PENDING, None
    row.next_at = await uow.now()
    return row


def next_attempt_at(row: WebhookDeliveryRow) -> datetime | None:
    return row.next_at if row.state is DeliveryState.PENDING else None
