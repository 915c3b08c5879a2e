"""The secret that an owner's webhooks are signed with: generated on first use, rotated without a gap."""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, text
from sqlmodel import select

from phoenix.db import Database, SecretCipher, UnitOfWork, UtcDateTime
from phoenix.jobs.webhooks.tables import WebhookSecretRow

OVERLAP = timedelta(hours=24)
_SECRET_BYTES = 32

# Two replicas that need the first secret at the same time must get the same secret.
_INSERT_IF_MISSING = text(
    "INSERT INTO webhook_secrets (owner_id, secret, created_at) VALUES (:owner_id, :secret, :created_at) "
    "ON CONFLICT (owner_id) DO NOTHING"
).bindparams(bindparam("created_at", type_=UtcDateTime()))


@dataclass(frozen=True)
class SigningSecrets:
    """An owner's secret, and the one before it, which is valid until `previous_until`."""

    current: str
    created_at: datetime
    previous: str | None
    previous_until: datetime | None

    def valid(self, now: datetime) -> tuple[str, ...]:
        """The secrets to sign with now, newest first."""
        is_previous_good = self.previous_until is not None and now < self.previous_until
        return (self.current, self.previous) if is_previous_good and self.previous else (self.current,)


async def get_secret(database: Database, owner_id: str) -> SigningSecrets:
    """The owner's secret. Generates it if there is none yet. Raises `SecretUnreadable`."""
    async with database.read() as session:
        row = await session.get(WebhookSecretRow, owner_id)
    if row is None:
        async with database.write() as uow:
            await _ensure_secret(uow, owner_id)
            row = await uow.session.get_one(WebhookSecretRow, owner_id)
    return _decrypt(row, database.cipher)


async def _ensure_secret(uow: UnitOfWork, owner_id: str) -> None:
    values = {"owner_id": owner_id, "secret": uow.cipher.encrypt(_generate()), "created_at": await uow.now()}
    await uow.session.execute(_INSERT_IF_MISSING, values)


async def rotate_secret(uow: UnitOfWork, owner_id: str) -> SigningSecrets:
    """Generates a new secret. Webhooks are also signed with the previous one until `OVERLAP` has passed."""
    await _ensure_secret(uow, owner_id)
    row = await uow.session.get_one(WebhookSecretRow, owner_id, with_for_update=True, populate_existing=True)
    now = await uow.now()
    row.previous_secret, row.previous_until = row.secret, now + OVERLAP
    row.secret, row.created_at = uow.cipher.encrypt(_generate()), now
    return _decrypt(row, uow.cipher)


async def encrypt_webhook_secrets(uow: UnitOfWork) -> int:
    """Encrypts the secrets of all owners with the first key. Returns how many owners there are."""
    rows = (await uow.session.scalars(select(WebhookSecretRow).with_for_update())).all()
    for row in rows:
        row.secret = uow.cipher.renew(row.secret)
        row.previous_secret = row.previous_secret and uow.cipher.renew(row.previous_secret)
    return len(rows)


def _decrypt(row: WebhookSecretRow, cipher: SecretCipher) -> SigningSecrets:
    previous = row.previous_secret and cipher.decrypt(row.previous_secret)
    return SigningSecrets(cipher.decrypt(row.secret), row.created_at, previous, row.previous_until)


def _generate() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
