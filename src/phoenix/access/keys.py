"""API keys: shown once, stored as a digest, compared in constant time. A key can be rotated and revoked."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.access.tables import ApiKeyRow
from phoenix.db import UnitOfWork, db_now
from phoenix.errors import Conflict, Forbidden, InvalidRequest, NotFound

_NO_DIGEST = "0" * 64
_ID_LENGTH = 8
"""Enough to distinguish the secrets of one key, and no help in finding a secret."""


def generate_secret() -> str:
    """256 random bits in 43 characters."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(digest: str) -> str:
    """The short public id of a secret, which distinguishes the secrets of a key."""
    return digest[:_ID_LENGTH]


def replace_secret(row: ApiKeyRow, secret: str, *, now: datetime, keep_old_for: timedelta) -> None:
    """Replaces the secret of a key. The current secret stays valid for `keep_old_for`; an earlier secret does not."""
    is_kept = keep_old_for > timedelta()
    row.previous_digest = row.digest if is_kept else None
    row.previous_until = now + keep_old_for if is_kept else None
    row.digest = digest_of(secret)


def valid_digests(row: ApiKeyRow, now: datetime) -> tuple[str, ...]:
    """The digests of the key's secrets that are valid now, the newest first. A revoked key has none."""
    if row.revoked_at is not None:
        return ()
    is_previous_valid = row.previous_until is not None and now < row.previous_until
    return (row.digest, row.previous_digest) if is_previous_valid and row.previous_digest else (row.digest,)


def matches_any(digest: str, valid: tuple[str, ...]) -> bool:
    """Compares in constant time, and equally often for every key, so that the time does not reveal which ids exist."""
    compared = [*valid, _NO_DIGEST, _NO_DIGEST][:2]
    return any([hmac.compare_digest(each, digest) for each in compared])  # noqa: C419 - all of them, always


_KEY = re.compile(r"phx_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
_IDS_PER_QUERY = 5000
"""Both databases limit a statement to about 32,000 parameters."""
LAST_USED_PRECISION = timedelta(minutes=1)
"""A key's last use is recorded at most this often; otherwise every request, even a read, would cost a write."""


class Scope(StrEnum):
    """What a key allows its callers to do."""

    READ = "read"
    WRITE = "write"
    METRICS = "metrics"
    """Reads the metrics of the fleet, and nothing else."""
    ADMIN = "admin"
    """Sees the fleet with its hosts, and may do everything that the other scopes allow."""


@dataclass(frozen=True)
class Caller:
    """Who makes a request. `owner_id` owns what the caller makes; the caller sees nothing else."""

    owner_id: str
    scopes: frozenset[Scope]
    secret_id: str = ""
    """Id of the key's secret that was presented. A stream token that is made with a secret ends with the secret."""

    def check(self, scope: Scope) -> None:
        """Raises `Forbidden` unless the caller has this scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise Forbidden(f"This key lacks the scope `{scope}`.")


ANYBODY = Caller("anonymous", frozenset(Scope))
"""The caller where auth is off."""


async def create_key(uow: UnitOfWork, name: str, scopes: Collection[Scope]) -> str:
    """Creates a key and returns it in full. It cannot be read again.

    Raises `InvalidRequest` for the scope `write` without `read`: its holder could not follow what it makes.
    """
    if Scope.WRITE in scopes and not {Scope.READ, Scope.ADMIN} & set(scopes):
        raise InvalidRequest("The scope `write` needs `read`: such a key could not follow the jobs that it makes.")
    key_id, secret = secrets.token_hex(6), generate_secret()
    row = ApiKeyRow(id=key_id, name=name, digest=digest_of(secret), scopes=sorted(scopes), created_at=await uow.now())
    uow.session.add(row)
    return _join(key_id, secret)


async def rotate_key(uow: UnitOfWork, key_id: str, *, keep_old_for: timedelta) -> str:
    """Gives a key a new secret, and returns the key in full. It cannot be read again. The id stays.

    The previous secret stays valid for `keep_old_for`. Raises `NotFound`, or `Conflict` for a revoked key.
    """
    row = await uow.session.get(ApiKeyRow, key_id, with_for_update=True)
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    if row.revoked_at is not None:
        raise Conflict(f"The key {key_id} is revoked; `phoenix keys create` makes a new one.")
    secret = generate_secret()
    replace_secret(row, secret, now=await uow.now(), keep_old_for=keep_old_for)
    return _join(key_id, secret)


async def list_keys(session: AsyncSession) -> Sequence[ApiKeyRow]:
    """All keys in order of creation, including revoked keys."""
    return (await session.scalars(select(ApiKeyRow).order_by(col(ApiKeyRow.created_at)))).all()


async def revoke_key(uow: UnitOfWork, key_id: str) -> ApiKeyRow:
    """Revokes a key with immediate effect. Harmless if repeated. Raises `NotFound`."""
    row = await uow.session.get(ApiKeyRow, key_id)
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    row.revoked_at = row.revoked_at or await uow.now()
    return row


async def find_callers(session: AsyncSession, presented: Collection[str]) -> Mapping[str, Caller]:
    """The caller by key, in one query. Invalid keys are left out without a reason."""
    matches = {key: _KEY.fullmatch(key) for key in presented}
    ids = {match["id"] for match in matches.values() if match}
    rows = await _read_keys(session, ids)
    callers = {key: _authenticate(rows.get(match["id"]) if match else None, match) for key, match in matches.items()}
    return {key: caller for key, caller in callers.items() if caller}


_Dated = tuple[ApiKeyRow, datetime]
"""A key, and the database's clock when it was read."""


async def _read_keys(session: AsyncSession, key_ids: Collection[str]) -> Mapping[str, _Dated]:
    found = await session.execute(select(ApiKeyRow, db_now()).where(col(ApiKeyRow.id).in_(key_ids)))
    return {row.id: (row, now) for row, now in found}


def _authenticate(found: _Dated | None, match: re.Match[str] | None) -> Caller | None:
    digest = digest_of(match["secret"] if match else "")
    is_right = matches_any(digest, valid_digests(*found) if found else ())
    if found is None or not is_right:
        return None
    row, _ = found
    return Caller(row.id, frozenset(scope for scope in Scope if scope in row.scopes), id_of(digest))


async def find_revoked(session: AsyncSession, key_ids: Collection[str]) -> Collection[str]:
    """The ids of the revoked keys among `key_ids`."""
    ids, found = sorted(key_ids), set[str]()
    for first in range(0, len(ids), _IDS_PER_QUERY):
        among = col(ApiKeyRow.id).in_(ids[first : first + _IDS_PER_QUERY])
        revoked = select(col(ApiKeyRow.id)).where(among, col(ApiKeyRow.revoked_at).is_not(None))
        found |= set(await session.scalars(revoked))
    return found


async def find_invalid(session: AsyncSession, used: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
    """The pairs (key id, secret id) that are no longer valid: the key was revoked, or the secret was replaced."""
    rows = await _read_keys(session, {key_id for key_id, _ in used})
    valid = {key_id: {id_of(digest) for digest in valid_digests(*dated)} for key_id, dated in rows.items()}
    return {(key_id, secret_id) for key_id, secret_id in used if secret_id not in valid.get(key_id, {secret_id})}


async def record_use(uow: UnitOfWork, key_id: str) -> None:
    """Records the key's last use, to within `LAST_USED_PRECISION`."""
    now = await uow.now()
    is_stale = col(ApiKeyRow.last_used_at).is_(None) | (col(ApiKeyRow.last_used_at) < now - LAST_USED_PRECISION)
    await uow.session.execute(update(ApiKeyRow).where(col(ApiKeyRow.id) == key_id, is_stale).values(last_used_at=now))


def ids_of(key: str) -> tuple[str, str]:
    """The public id of a key, and the id of its secret. Raises `ValueError` if this is no key."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError("this is no API key")
    return match["id"], id_of(digest_of(match["secret"]))


def _join(key_id: str, secret: str) -> str:
    return f"phx_{key_id}_{secret}"
