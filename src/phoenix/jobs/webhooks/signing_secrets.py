"""The secret that an owner's webhooks are signed with: generated on first use, rotated without a gap."""

import base64
import secrets
from datetime import datetime, timedelta

from sqlalchemy import bindparam, text

from phoenix.db import Database, UnitOfWork, UtcDateTime
from phoenix.jobs.webhooks.tables import WebhookSecretRow

OVERLAP = timedelta(hours=24)
_SECRET_BYTES = 32

# Two replicas that need the first secret at the same time must get the same secret.
_INSERT_IF_MISSING = text(
    "INSERT INTO webhook_secrets (owner_id, secret, created_at) VALUES (:owner_id, :secret, :created_at) "
    "ON CONFLICT (owner_id) DO NOTHING"
).bindparams(bindparam("created_at", type_=UtcDateTime()))


async def get_secret(database: Database, owner_id: str) -> WebhookSecretRow:
    """The owner's secret. Generates it if there is none yet."""
    async with database.read() as session:
        row = await session.get(WebhookSecretRow, owner_id)
    if row is None:
        async with database.write() as uow:
            await _ensure_secret(uow, owner_id)
            row = await uow.session.get_one(WebhookSecretRow, owner_id)
    return row


async def _ensure_secret(uow: UnitOfWork, owner_id: str) -> None:
    values = {"owner_id": owner_id, "secret": _generate(), "created_at": await uow.now()}
    await uow.session.execute(_INSERT_IF_MISSING, values)


async def rotate_secret(uow: UnitOfWork, owner_id: str) -> WebhookSecretRow:
    """Generates a new secret. Webhooks are also signed with the previous one until `OVERLAP` has passed."""
    await _ensure_secret(uow, owner_id)
    row = await uow.session.get_one(WebhookSecretRow, owner_id, with_for_update=True, populate_existing=True)
    now = await uow.now()
    row.previous_secret, row.previous_until = row.secret, now + OVERLAP
    row.secret, row.created_at = _generate(), now
    return row


def valid_secrets(row: WebhookSecretRow, now: datetime) -> tuple[str, ...]:
    """The secrets to sign with now, newest first."""
    is_previous_good = row.previous_until is not None and now < row.previous_until
    return (row.secret, row.previous_secret) if is_previous_good and row.previous_secret else (row.secret,)


def _generate() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
