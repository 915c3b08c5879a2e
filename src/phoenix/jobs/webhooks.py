"""The outbox of webhooks: deliveries are written in the transaction of their event.

Sending is `api.webhooks`' part. Claimed deliveries are leased, so that another sender takes over from one that dies.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from sqlalchemy import ColumnElement, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.events import TERMINAL_EVENT_TYPES, DurableEvent, JobExpired, JobFailed, JobSucceeded
from phoenix.contract.jobs import JobError
from phoenix.contract.webhooks import WebhookData, WebhookPayload
from phoenix.db.columns import UtcDateTime, db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import NotFound
from phoenix.ids import new_delivery_id
from phoenix.jobs.tables import JobRow
from phoenix.jobs.webhook_tables import DeliveryState, WebhookDeliveryRow, WebhookRefusalRow

MAX_PAYLOAD_BYTES = 20_000
_LONGEST_MESSAGE = 2000
_LOOKED_AT = 200

# Several deliveries to one URL may be answered at the same time.
_REFUSE = text(
    "INSERT INTO webhook_refusals (owner_id, url, refused_at) VALUES (:owner_id, :url, :refused_at) "
    "ON CONFLICT (owner_id, url) DO NOTHING"
).bindparams(bindparam("refused_at", type_=UtcDateTime()))


@dataclass(frozen=True)
class DueDelivery:
    """One delivery to be tried now, by whoever claimed it."""

    id: str
    owner_id: str
    url: str
    target: str
    body: bytes
    attempt: int
    """From 1: the try that is due."""
    request_id: str | None = None
    """Id of the request that made the job; the trace is that request's too."""
    traceparent: str | None = None


async def queue_delivery(uow: UnitOfWork, job: JobRow, event: DurableEvent) -> None:
    """Writes the delivery of this event, if the job asked for one."""
    webhook = job.options.get("webhook")
    if webhook is None or event.type not in (webhook["events"] or TERMINAL_EVENT_TYPES):
        return
    now, url = await uow.now(), webhook["url"]
    is_refused = await uow.session.get(WebhookRefusalRow, (job.owner_id, url)) is not None
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


def make_payload(job: JobRow, event: DurableEvent) -> WebhookPayload:
    """The body to send: under 20 kB, if need be without the metadata."""
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


def target_of(url: str) -> str:
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


async def has_due(session: AsyncSession, *, busy_targets: Collection[str]) -> bool:
    """Whether there is anything to claim. Takes no lock."""
    statement = select(col(WebhookDeliveryRow.id)).where(*_is_due(busy_targets))
    return (await session.scalars(statement.limit(1))).first() is not None


async def claim_due(
    uow: UnitOfWork, *, limit: int, per_target: int, under_way: Counter[str], lease_s: float
) -> list[DueDelivery]:
    """Claims up to `limit` deliveries, longest due first; at most `per_target` a target, those in flight included."""
    busy = [target for target, count in under_way.items() if count >= per_target]
    statement = (
        select(WebhookDeliveryRow)
        .where(*_is_due(busy))
        .order_by(col(WebhookDeliveryRow.next_at))
        .limit(_LOOKED_AT)
        .with_for_update(skip_locked=True)
    )
    counts, claimed = under_way.copy(), list[WebhookDeliveryRow]()
    lease_until = await uow.now() + timedelta(seconds=lease_s)
    for row in await uow.session.scalars(statement):
        if len(claimed) < limit and counts[row.target] < per_target:
            counts[row.target] += 1
            # Counted before sending: the try of a sender that is lost may have arrived.
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
    # As it was written: a newer version's may be none that this one could read.
    body = json.dumps(row.payload, ensure_ascii=False, separators=(",", ":")).encode()
    return DueDelivery(row.id, row.owner_id, row.url, row.target, body, row.attempts, request_id, traceparent)


async def note_success(uow: UnitOfWork, due: DueDelivery, status: int) -> None:
    row = await _find_claimed(uow, due)
    if row is not None:
        row.last_status, row.last_error = status, None
        await _end(uow, row, DeliveryState.SUCCEEDED)


async def note_failure(
    uow: UnitOfWork, due: DueDelivery, *, status: int | None, error: str, retry_in_s: float | None
) -> None:
    """Postpones the delivery by `retry_in_s`, or gives it up if that is None."""
    row = await _find_claimed(uow, due)
    if row is None:
        return
    row.last_status, row.last_error = status, error
    if retry_in_s is None:
        await _end(uow, row, DeliveryState.FAILED)
    else:
        row.next_at = await uow.now() + timedelta(seconds=retry_in_s)


async def note_refusal(uow: UnitOfWork, due: DueDelivery, status: int) -> None:
    """The target wants no more: this and whatever else waits to be sent there for this owner is given up."""
    refusal = {"owner_id": due.owner_id, "url": due.url, "refused_at": await uow.now()}
    await uow.session.execute(_REFUSE, refusal)
    waiting = select(WebhookDeliveryRow).where(
        col(WebhookDeliveryRow.state) == DeliveryState.PENDING,
        col(WebhookDeliveryRow.owner_id) == due.owner_id,
        col(WebhookDeliveryRow.url) == due.url,
    )
    for row in await uow.session.scalars(waiting.order_by(col(WebhookDeliveryRow.id)).with_for_update()):
        row.last_status, row.last_error = status, "The target wants no more: it answered 410."
        await _end(uow, row, DeliveryState.FAILED)


async def _find_claimed(uow: UnitOfWork, due: DueDelivery) -> WebhookDeliveryRow | None:
    """The row, unless its job was deleted or another sender has claimed it since."""
    statement = select(WebhookDeliveryRow).where(
        col(WebhookDeliveryRow.id) == due.id,
        col(WebhookDeliveryRow.attempts) == due.attempt,
        col(WebhookDeliveryRow.state) == DeliveryState.PENDING,
    )
    return (await uow.session.scalars(statement.with_for_update())).one_or_none()


async def _end(uow: UnitOfWork, row: WebhookDeliveryRow, state: DeliveryState) -> None:
    row.state = state
    row.finished_at = await uow.now()


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
    refusal = await uow.session.get(WebhookRefusalRow, (owner_id, row.url))
    if refusal is not None:
        await uow.session.delete(refusal)
    if row.state is not DeliveryState.PENDING:
        row.attempts = 0
    row.state, row.finished_at = DeliveryState.PENDING, None
    row.next_at = await uow.now()
    return row


def next_attempt_at(row: WebhookDeliveryRow) -> datetime | None:
    return row.next_at if row.state is DeliveryState.PENDING else None
