"""The secrets of one key: the current one, and for a while the one that it replaced. Only their digests are stored."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from phoenix.access.tables import ApiKeyRow

_NO_DIGEST = "0" * 64
_ID_LENGTH = 8
"""Tells the secrets of one key apart, and is of no help in finding any of them."""


def draw_secret() -> str:
    """256 random bits in 43 characters."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(digest: str) -> str:
    """Short, public name of a secret among those of its key."""
    return digest[:_ID_LENGTH]


def replace_secret(row: ApiKeyRow, secret: str, *, now: datetime, keep_old_for: timedelta) -> None:
    """The current secret is valid until `keep_old_for` has passed; one that was replaced earlier, no longer."""
    is_kept = keep_old_for > timedelta()
    row.previous_digest = row.digest if is_kept else None
    row.previous_until = now + keep_old_for if is_kept else None
    row.digest = digest_of(secret)


def valid_digests(row: ApiKeyRow, now: datetime) -> tuple[str, ...]:
    """Those of the secrets that are valid now, the newest first; none of a revoked key."""
    if row.revoked_at is not None:
        return ()
    is_previous_valid = row.previous_until is not None and now < row.previous_until
    return (row.digest, row.previous_digest) if is_previous_valid and row.previous_digest else (row.digest,)


def is_among(digest: str, valid: tuple[str, ...]) -> bool:
    """Compares in constant time, as often for every key, so that the time taken does not reveal which ids exist."""
    compared = [*valid, _NO_DIGEST, _NO_DIGEST][:2]
    return any([hmac.compare_digest(each, digest) for each in compared])  # noqa: C419 - all of them, always
