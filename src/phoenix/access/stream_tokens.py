"""Tokens that let a browser follow one job and do nothing else. Signed, not stored: any replica can check them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import select

from phoenix.access.tables import SecretRow
from phoenix.db import Database, UnitOfWork
from phoenix.errors import Forbidden, Unauthenticated

_VERSION = "1"


@dataclass(frozen=True)
class StreamGrant:
    """What a token grants: to follow one job of one owner until `expires_at` (whole seconds).

    `secret_id`: the id of the key's secret that the token was made with. The token is not valid longer than the secret.
    Empty where auth is off.
    """

    job_id: str
    owner_id: str
    secret_id: str
    expires_at: datetime


def sign(secret: bytes, grant: StreamGrant) -> str:
    """Signs a grant. The token needs no escaping in a URL."""
    fields = (_VERSION, grant.job_id, grant.owner_id, grant.secret_id, str(int(grant.expires_at.timestamp())))
    payload = "|".join(fields).encode()
    return f"{_to_text(payload)}.{_to_text(_digest(secret, payload))}"


def read_grant(secret: bytes, token: str, *, job_id: str, now: datetime) -> StreamGrant:
    """Verifies a token. Raises `Unauthenticated` if it is invalid or has expired, `Forbidden` if for another job."""
    try:
        payload, digest = (_to_bytes(part) for part in token.split("."))
        if not hmac.compare_digest(digest, _digest(secret, payload)):
            raise ValueError("the signature is wrong")
        # Only now: no part of an unsigned token is interpreted.
        version, granted_job_id, owner_id, secret_id, expires_s = payload.decode().split("|")
        expires_at = datetime.fromtimestamp(int(expires_s), UTC)
    except (ValueError, binascii.Error):
        raise Unauthenticated("The stream token is not valid.") from None
    if version != _VERSION or now >= expires_at:
        raise Unauthenticated("The stream token is no longer valid.")
    if granted_job_id != job_id:
        raise Forbidden("The stream token is for another job.")
    return StreamGrant(granted_job_id, owner_id, secret_id, expires_at)


def _digest(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, b"phoenix stream token\n" + payload, hashlib.sha256)


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _to_bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


# If two replicas start together, the second adopts the secret of the first.
_INSERT_IF_MISSING = text("INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")


async def get_or_create_secret(database: Database, name: str) -> bytes:
    """The secret of this name (256 random bits), generated if there is none yet.

    Raises `SecretUnreadable` if it was encrypted with a key that the settings lack.
    """
    async with database.read() as session:
        row = await session.get(SecretRow, name)
    if row is None:
        async with database.write() as uow:
            value = uow.cipher.encrypt(secrets.token_urlsafe(32))
            await uow.session.execute(_INSERT_IF_MISSING, {"name": name, "value": value})
            row = await uow.session.get_one(SecretRow, name)
    return database.cipher.decrypt(row.value).encode()


async def encrypt_shared_secrets(uow: UnitOfWork) -> int:
    """Encrypts the secrets that all replicas share with the first key. Returns how many there are."""
    rows = (await uow.session.scalars(select(SecretRow).with_for_update())).all()
    for row in rows:
        row.value = uow.cipher.renew(row.value)
    return len(rows)
