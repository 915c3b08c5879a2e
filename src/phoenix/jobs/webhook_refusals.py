"""URLs that answered 410: no more is sent there for their owner, until it asks for a delivery again, or for long."""

from sqlalchemy import bindparam, delete, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db.columns import UtcDateTime, db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.webhook_tables import WebhookRefusalRow

KEPT_S = 90 * 24 * 3600
"""Who still means it answers the next delivery with 410 again, which is one request in all this time."""

# Several deliveries to one URL may be answered at the same time.
_KEEP = text(
    "INSERT INTO webhook_refusals (owner_id, url, refused_at) VALUES (:owner_id, :url, :refused_at) "
    "ON CONFLICT (owner_id, url) DO NOTHING"
).bindparams(bindparam("refused_at", type_=UtcDateTime()))


async def has_refused(session: AsyncSession, owner_id: str, url: str) -> bool:
    return await session.get(WebhookRefusalRow, (owner_id, url)) is not None


async def keep_refusal(uow: UnitOfWork, owner_id: str, url: str) -> None:
    """Harmless where there is one already."""
    await uow.session.execute(_KEEP, {"owner_id": owner_id, "url": url, "refused_at": await uow.now()})


async def lift_refusal(uow: UnitOfWork, owner_id: str, url: str) -> None:
    """Harmless where there is none."""
    refusal = (col(WebhookRefusalRow.owner_id) == owner_id) & (col(WebhookRefusalRow.url) == url)
    await uow.session.execute(delete(WebhookRefusalRow).where(refusal))


async def forget_refusals(uow: UnitOfWork) -> None:
    """Deletes the old ones."""
    old = delete(WebhookRefusalRow).where(col(WebhookRefusalRow.refused_at) < db_now(-KEPT_S))
    await uow.session.execute(old.execution_options(synchronize_session=False))
