"""Tokens in URLs, for what cannot send headers. Signed, not stored: any replica can check them.

A token grants one purpose for one resource: to follow a job, or to load the media of a job or an artifact.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import text
from sqlmodel import select

from phoenix.access.tables import SecretRow
from phoenix.db import Database, UnitOfWork
from phoenix.errors import Forbidden, Unauthenticated

_VERSION = "1"
_KINDS = {"job_": "job", "art_": "file"}


class TokenPurpose(StrEnum):
    """What the holder of a token may do."""

    STREAM = "stream"
    """Follow a job."""
    MEDIA = "media"
    """Load the files of a job, or one artifact."""
    FRAMES = "frames"
    """Open sessions with a registered video."""


@dataclass(frozen=True)
class Grant:
    """What a token grants: one purpose, for one job or artifact of one owner, until `expires_at` (whole seconds).

    `secret_id`: the id of the key's secret that the token was made with. The token is not valid longer than the secret.
    Empty where auth is off.
    """

    purpose: TokenPurpose
    resource_id: str
    owner_id: str
    secret_id: str
    expires_at: datetime


def sign(secret: bytes, grant: Grant) -> str:
    """Signs a grant. The token needs no escaping in a URL."""
    fields = (_VERSION, grant.resource_id, grant.owner_id, grant.secret_id, str(int(grant.expires_at.timestamp())))
    payload = "|".join(fields).encode()
    return f"{_to_text(payload)}.{_to_text(_digest(secret, grant.purpose, payload))}"


def read_grant(secret: bytes, token: str, purpose: TokenPurpose, *, resource_id: str, now: datetime) -> Grant:
    """Verifies a token.

    Raises `Unauthenticated` if it is invalid, has expired or has another purpose, `Forbidden` if it is for another job
    or artifact.
    """
    try:
        payload, digest = (_to_bytes(part) for part in token.split("."))
        if not hmac.compare_digest(digest, _digest(secret, purpose, payload)):
            raise ValueError("the signature is wrong")
        # Only now: no part of an unsigned token is interpreted.
        version, granted_id, owner_id, secret_id, expires_s = payload.decode().split("|")
        expires_at = datetime.fromtimestamp(int(expires_s), UTC)
    except (ValueError, binascii.Error):
        raise Unauthenticated(f"The {purpose} token is not valid.") from None
    if version != _VERSION or now >= expires_at:
        raise Unauthenticated(f"The {purpose} token is no longer valid.")
    if granted_id != resource_id:
        raise Forbidden(f"The {purpose} token is for another {_KINDS.get(resource_id[:4], 'video')}.")
    return Grant(purpose, granted_id, owner_id, secret_id, expires_at)


def _digest(secret: bytes, purpose: TokenPurpose, payload: bytes) -> bytes:
    # The purpose is signed, so that a token of one purpose is of no use for another.
    return hmac.digest(secret, f"phoenix {purpose} token\n".encode() + payload, hashlib.sha256)


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
