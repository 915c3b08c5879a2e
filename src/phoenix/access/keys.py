"""API keys: shown once, stored as a digest, compared in constant time. A key can be rotated and revoked, and expire."""

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import EllipsisType
from typing import Any

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.access.tables import ApiKeyRow
from phoenix.db import Database, UnitOfWork, db_now, detached, table_of
from phoenix.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from phoenix.events.pubsub.channels import KeysChanged

_KEYS = table_of(ApiKeyRow)
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
    """The digests of the key's secrets that are valid now, the newest first. A revoked or expired key has none."""
    return () if has_expired(row, now) else _unrevoked_digests(row, now)


def has_expired(row: ApiKeyRow, now: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= now


def _unrevoked_digests(row: ApiKeyRow, now: datetime) -> tuple[str, ...]:
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
    OPERATOR = "operator"
    """Reads the fleet with its hosts, the jobs of all keys and the audit log, and changes nothing of others."""
    ADMIN = "admin"
    """Steers the fleet and the jobs of all keys, and may do everything that the other scopes allow."""


_READ_BY_OPERATORS = frozenset({Scope.READ, Scope.METRICS})


@dataclass(frozen=True)
class Caller:
    """Who makes a request. `owner_id` owns what the caller makes; the caller sees nothing else."""

    owner_id: str
    scopes: frozenset[Scope]
    secret_id: str = ""
    """Id of the key's secret that was presented. A token that is made with a secret ends with the secret."""
    expires_at: datetime | None = None
    """The end of the key; None if it has none."""
    max_stored_bytes: int | None = None
    """What the key may store; 0 means no limit, None the limit of the settings."""
    secret_valid_for_s: float = math.inf
    """Seconds from the look-up until the secret ends by itself."""

    def may(self, scope: Scope) -> bool:
        """Whether the caller has this scope, or a scope that includes it."""
        if scope in self.scopes or Scope.ADMIN in self.scopes:
            return True
        return Scope.OPERATOR in self.scopes and scope in _READ_BY_OPERATORS

    def check(self, scope: Scope) -> None:
        """Raises `Forbidden` unless the caller may do what the scope allows."""
        if not self.may(scope):
            raise Forbidden(f"This key lacks the scope `{scope}`.")


ANYBODY = Caller("anonymous", frozenset(Scope))
"""The caller where auth is off."""


@dataclass(frozen=True)
class ExpiredKey:
    """The right secret of a key that has expired."""

    expires_at: datetime


async def create_key(
    uow: UnitOfWork,
    name: str,
    scopes: Collection[Scope],
    *,
    expires_at: datetime | None = None,
    max_stored_bytes: int | None = None,
) -> str:
    """Creates a key and returns it in full. It cannot be read again.

    Raises `InvalidRequest` for the scope `write` without `read`: its holder could not follow what it makes. Also for an
    `expires_at` that is not in the future.
    """
    await _check_end(uow, expires_at)
    if Scope.WRITE in scopes and not {Scope.READ, Scope.OPERATOR, Scope.ADMIN} & set(scopes):
        raise InvalidRequest("The scope `write` needs `read`: such a key could not follow the jobs that it makes.")
    key_id, secret = secrets.token_hex(6), generate_secret()
    row = ApiKeyRow(id=key_id, name=name, digest=digest_of(secret), scopes=sorted(scopes), created_at=await uow.now())
    row.expires_at, row.max_stored_bytes = expires_at, max_stored_bytes
    uow.session.add(row)
    return _join(key_id, secret)


async def rotate_key(uow: UnitOfWork, key_id: str, *, keep_old_for: timedelta) -> str:
    """Gives a key a new secret, and returns the key in full. It cannot be read again. The id stays.

    The previous secret stays valid for `keep_old_for`. Raises `NotFound`, or `Conflict` for a revoked or expired key.
    """
    row = await get_key_locked(uow, key_id)
    is_expired = has_expired(row, await uow.now())
    if is_expired or row.revoked_at is not None:
        state = "is revoked" if row.revoked_at else "has expired"
        raise Conflict(f"The key {key_id} {state}; `phoenix keys create` makes a new one.")
    secret = generate_secret()
    replace_secret(row, secret, now=await uow.now(), keep_old_for=keep_old_for)
    uow.publish_after_commit(KeysChanged())
    return _join(key_id, secret)


async def list_keys(session: AsyncSession) -> Sequence[ApiKeyRow]:
    """All keys in order of creation, including revoked keys."""
    return (await session.scalars(select(ApiKeyRow).order_by(col(ApiKeyRow.created_at)))).all()


async def revoke_key(uow: UnitOfWork, key_id: str) -> ApiKeyRow:
    """Revokes a key with immediate effect. Harmless if repeated. Raises `NotFound`."""
    row = await get_key_locked(uow, key_id)
    row.revoked_at = row.revoked_at or await uow.now()
    uow.publish_after_commit(KeysChanged())
    return row


async def record_purge(uow: UnitOfWork, key_id: str) -> None:
    """Records that everything that the key had made was deleted. Raises `NotFound`."""
    row = await get_key_locked(uow, key_id)
    row.purged_at = row.purged_at or await uow.now()


async def get_key_locked(uow: UnitOfWork, key_id: str) -> ApiKeyRow:
    """The key, once no other transaction holds it with `hold_key`. Raises `NotFound`."""
    row = await uow.session.get(ApiKeyRow, key_id, with_for_update=True)
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    return row


async def change_key(
    uow: UnitOfWork,
    key_id: str,
    *,
    expires_at: datetime | EllipsisType | None = ...,
    max_stored_bytes: int | EllipsisType | None = ...,
) -> ApiKeyRow:
    """Gives a key another end or quota; `...` leaves a value as it is. Raises `NotFound`.

    Raises `Conflict` for a revoked key, and `InvalidRequest` for an `expires_at` that is not in the future.
    """
    row = await get_key_locked(uow, key_id)
    if row.revoked_at is not None:
        raise Conflict(f"The key {key_id} is revoked; `phoenix keys create` makes a new one.")
    if expires_at is not ...:
        await _check_end(uow, expires_at)
        row.expires_at = expires_at
    if max_stored_bytes is not ...:
        row.max_stored_bytes = max_stored_bytes
    uow.publish_after_commit(KeysChanged())
    return row


async def _check_end(uow: UnitOfWork, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= await uow.now():
        raise InvalidRequest("The key would have expired already; give a time in the future.")


# Built once, because it runs with every submit. The weakest lock: many requests hold the key at the same time, and
# `record_use` does not wait for them.
_HOLD = (
    select(_KEYS.c.revoked_at, db_now())
    .where(_KEYS.c.id == bindparam("key_id"))
    .with_for_update(read=True, key_share=True)
)


async def hold_key(uow: UnitOfWork, caller: Caller) -> None:
    """Makes a revocation of the caller's key wait for the commit. Raises `Unauthenticated` if the key was revoked.

    For transactions that add what the key owns: a body may arrive for minutes after its key was checked, and nothing
    may be added to a key that was purged.
    """
    if caller is ANYBODY:
        return
    row = (await uow.session.execute(_HOLD, {"key_id": caller.owner_id})).one_or_none()
    if row is None:
        return
    revoked_at, now = row
    if revoked_at is not None:
        raise Unauthenticated("The API key was revoked.")
    uow.set_now(now)


async def hold_owner(uow: UnitOfWork, owner_id: str) -> Caller:
    """Like `hold_key`, for the owner of a job that an administrator acts on. Raises `Conflict` for a revoked key."""
    row = await uow.session.get(ApiKeyRow, owner_id, with_for_update={"read": True, "key_share": True})
    if row is None:
        return ANYBODY
    if row.revoked_at is not None:
        raise Conflict(f"The key {owner_id} is revoked: nothing new is made for it.")
    return Caller(row.id, frozenset(), max_stored_bytes=row.max_stored_bytes)


async def find_callers(database: Database, presented: Collection[str]) -> Mapping[str, Caller | ExpiredKey]:
    """The caller by key, in one query. Invalid keys are left out without a reason. Raises `Unavailable`.

    Only the holder of its secret learns that a key has expired.
    """
    matches = {key: _KEY.fullmatch(key) for key in presented}
    ids = {match["id"] for match in matches.values() if match}
    rows = _dated(await database.fetch(_FIND_KEYS, {"key_ids": list(ids)}))
    callers = {key: _authenticate(rows.get(match["id"]) if match else None, match) for key, match in matches.items()}
    return {key: caller for key, caller in callers.items() if caller}


_Dated = tuple[ApiKeyRow, datetime]
"""A key, and the database's clock when it was read."""


_FIND_KEYS = select(*_KEYS.columns, db_now()).where(_KEYS.c.id.in_(bindparam("key_ids", expanding=True)))


def _dated(found: Iterable[Row[Any]]) -> Mapping[str, _Dated]:
    return {values.id: (detached(ApiKeyRow, values[:-1]), values[-1]) for values in found}


def _authenticate(found: _Dated | None, match: re.Match[str] | None) -> Caller | ExpiredKey | None:
    digest = digest_of(match["secret"] if match else "")
    is_right = matches_any(digest, _unrevoked_digests(*found) if found else ())
    if found is None or not is_right:
        return None
    row, now = found
    if row.expires_at is not None and has_expired(row, now):
        return ExpiredKey(row.expires_at)
    scopes = frozenset(scope for scope in Scope if scope in row.scopes)
    ends = [row.expires_at, row.previous_until if digest == row.previous_digest else None]
    valid_for_s = min(((end - now).total_seconds() for end in ends if end is not None), default=math.inf)
    return Caller(row.id, scopes, id_of(digest), row.expires_at, row.max_stored_bytes, valid_for_s)


async def find_invalid(session: AsyncSession, used: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
    """The pairs (key id, secret id) that are no longer valid: the key ended, or the secret was replaced."""
    ids, rows = sorted({key_id for key_id, _ in used}), dict[str, _Dated]()
    for first in range(0, len(ids), _IDS_PER_QUERY):
        part = {"key_ids": ids[first : first + _IDS_PER_QUERY]}
        rows |= _dated(await session.execute(_FIND_KEYS, part))
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
