"""Admission control: whether the queue takes one more job, and the quotas of a key.

The limits are checked in the transaction that adds to what they limit; the queue's limit only once it is near.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.clock import plain_number
from phoenix.contract import ArtifactKind, JobState
from phoenix.db import UnitOfWork, acquire_lock, db_now, table_of
from phoenix.errors import QueueFull, RateLimited, StorageQuotaExceeded
from phoenix.jobs.scheduling.usage import usage_spans
from phoenix.jobs.tables import ArtifactRow, JobRow
from phoenix.settings import LimitSettings

_JOBS = table_of(JobRow)

MAX_CONCURRENT_SUBMITS = 200
"""More submits than all replicas handle at the same time. Submits wait for each other only this close to the limit."""

_DRAIN_WINDOW_S = 300
_COUNT_TTL_S = 1.0
_MAX_OWNERS = 1000
_REPLICAS = 20


class QueueCapacity:
    """The free capacity of the queue as one process counted it last: counting 10,000 jobs costs PostgreSQL 1 ms.

    The count is not used in the last tenth before the limit. The limit is exceeded only if as many jobs as that
    tenth, a thousand by default, arrive within a second.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._remaining = 0
        self._expires_s = 0.0
        self._of_owners: dict[str, QueueCapacity] = {}

    def of_owner(self, owner_id: str) -> "QueueCapacity":
        """What is left of the owner's quota of queued jobs, counted in the same way."""
        if owner_id not in self._of_owners:
            while len(self._of_owners) >= _MAX_OWNERS:
                del self._of_owners[next(iter(self._of_owners))]
            self._of_owners[owner_id] = QueueCapacity(self._clock_s)
        return self._of_owners[owner_id]

    def try_acquire(self) -> bool:
        """Whether the queue takes one more job without counting again."""
        if self._remaining <= 0 or self._clock_s() >= self._expires_s:
            return False
        self._remaining -= 1
        return True

    def update(self, queued: int, limit: int) -> None:
        """Takes over a new count of the queued jobs."""
        free = limit - queued - MAX_CONCURRENT_SUBMITS
        # Other replicas have counted the same free places.
        self._remaining = free // _REPLICAS if free > limit // 10 else 0
        self._expires_s = self._clock_s() + _COUNT_TTL_S


async def check_capacity(uow: UnitOfWork, capacity: QueueCapacity, *, limit: int) -> None:
    """Raises `QueueFull` if `limit` jobs are queued. Counts them only if `capacity` cannot answer."""
    if capacity.try_acquire():
        return
    queued = await _count_queued(uow)
    capacity.update(queued, limit)
    if queued + MAX_CONCURRENT_SUBMITS > limit:
        # Otherwise two submits that count at the same time would both see the last free place.
        await acquire_lock(uow.session, "submit")
        queued = await _count_queued(uow)
    if queued >= limit:
        raise QueueFull(f"{limit} jobs are waiting, which is the limit.", retry_after_s=await _capacity_in_s(uow))


async def _capacity_in_s(uow: UnitOfWork) -> int:
    """Seconds until a place should be free, at the rate at which jobs have ended lately."""
    statement = select(func.count()).select_from(JobRow).where(col(JobRow.finished_at) > db_now(-_DRAIN_WINDOW_S))
    ended = (await uow.session.execute(statement)).scalar_one()
    return math.ceil(_DRAIN_WINDOW_S / ended) if ended else _DRAIN_WINDOW_S


_COUNT_QUEUED = select(func.count()).select_from(_JOBS).where(_JOBS.c.state == JobState.QUEUED)
_COUNT_QUEUED_OF_OWNER = _COUNT_QUEUED.where(_JOBS.c.owner_id == bindparam("owner_id"))


async def _count_queued(uow: UnitOfWork, *, owner_id: str | None = None) -> int:
    if owner_id is None:
        return (await uow.session.execute(_COUNT_QUEUED)).scalar_one()
    return (await uow.session.execute(_COUNT_QUEUED_OF_OWNER, {"owner_id": owner_id})).scalar_one()


DAY = timedelta(days=1)
_RETRY_AFTER_S = 30


@dataclass(frozen=True)
class Quota:
    """Limits of one key; 0 means no limit."""

    max_queued_jobs: int = 0
    gpu_seconds_per_day: float = 0
    upload_bytes_per_day: int = 0
    max_stored_bytes: int = 0

    @classmethod
    def from_settings(cls, limits: LimitSettings, *, max_stored_bytes: int | None = None) -> "Quota":
        """The quota that the settings give every key. `max_stored_bytes`: the limit of this key, if it has its own."""
        stored_bytes = limits.stored_bytes_per_key if max_stored_bytes is None else max_stored_bytes
        return cls(limits.queued_jobs_per_key, limits.gpu_seconds_per_day, limits.upload_bytes_per_day, stored_bytes)


async def check_quota(uow: UnitOfWork, owner_id: str, quota: Quota, capacity: QueueCapacity | None = None) -> None:
    """Raises `RateLimited` or `StorageQuotaExceeded` if the owner has used up one of its limits.

    The owner's queued jobs are counted only if `capacity`, the capacity of the queue, cannot answer for the owner.
    """
    # The size of a job's files is not known yet: they are kept even if they exceed the quota, as its last files.
    await _check_stored(uow.session, owner_id, quota.max_stored_bytes, added_bytes=1)
    own = (capacity or QueueCapacity()).of_owner(owner_id)
    if quota.max_queued_jobs and not own.try_acquire():
        queued = await _count_queued(uow, owner_id=owner_id)
        own.update(queued, quota.max_queued_jobs)
        if queued + MAX_CONCURRENT_SUBMITS > quota.max_queued_jobs:
            # Otherwise two submits that count at the same time would both see the last free place.
            await acquire_lock(uow.session, f"submit:{owner_id}")
            queued = await _count_queued(uow, owner_id=owner_id)
        if queued >= quota.max_queued_jobs:
            detail = f"This key has {quota.max_queued_jobs} jobs in the queue, which is its limit."
            raise RateLimited(detail, policies=["queued-jobs"], retry_after_s=_RETRY_AFTER_S)
    if quota.gpu_seconds_per_day:
        await _check_gpu_seconds(uow, owner_id, quota.gpu_seconds_per_day)


async def _check_gpu_seconds(uow: UnitOfWork, owner_id: str, limit_s: float) -> None:
    now = await uow.now()
    begun = usage_spans("gpu", within_s=DAY.total_seconds()).c
    statement = select(begun.started_at, begun.ended_at).where(begun.owner_id == owner_id).order_by(begun.started_at)
    spans = [(started_at, ended_at or now) for started_at, ended_at in await uow.session.execute(statement)]
    used_s = sum((ended_at - started_at).total_seconds() for started_at, ended_at in spans)
    if used_s < limit_s:
        return
    # The quota is freed as the oldest attempts turn a day old.
    for started_at, ended_at in spans:
        used_s -= (ended_at - started_at).total_seconds()
        if used_s < limit_s:
            wait_s = math.ceil((started_at + DAY - now).total_seconds())
            detail = f"This key has used {plain_number(limit_s)} GPU seconds within a day, which is its limit."
            raise RateLimited(detail, policies=["gpu-seconds"], retry_after_s=max(wait_s, 1))


async def count_stored_bytes(session: AsyncSession, owner_id: str) -> int:
    """The bytes of all files of the owner: uploads, and what its jobs have made. A shared file counts once."""
    statement = select(func.coalesce(func.sum(col(ArtifactRow.size_bytes)), 0))
    of_owner = statement.where(col(ArtifactRow.owner_id) == owner_id, col(ArtifactRow.shares_file).is_(False))
    return int((await session.execute(of_owner)).scalar_one())


async def list_stored_bytes(session: AsyncSession) -> Mapping[str, int]:
    """The bytes of each owner that has files."""
    totals = select(col(ArtifactRow.owner_id), func.sum(col(ArtifactRow.size_bytes)))
    by_owner = totals.where(col(ArtifactRow.shares_file).is_(False)).group_by(col(ArtifactRow.owner_id))
    return {owner_id: int(total) for owner_id, total in await session.execute(by_owner)}


async def _check_stored(session: AsyncSession, owner_id: str, max_bytes: int, *, added_bytes: int) -> None:
    if not max_bytes:
        return
    used_bytes = await count_stored_bytes(session, owner_id)
    if used_bytes + added_bytes > max_bytes:
        raise StorageQuotaExceeded(
            f"This key stores {used_bytes} bytes and may store {max_bytes}. Delete uploads with "
            "DELETE /v1/artifacts/{artifact_id}, or finished jobs with DELETE /v1/jobs/{job_id}."
        )


async def check_uploads(session: AsyncSession, owner_id: str, quota: Quota, *, size_bytes: int) -> None:
    """Raises `RateLimited` or `StorageQuotaExceeded` if `size_bytes` more would exceed what the owner may upload.

    Concurrent uploads see each other only if this is called in the transaction that adds the row.
    """
    if quota.upload_bytes_per_day or quota.max_stored_bytes:
        await acquire_lock(session, f"upload:{owner_id}")
    await _check_stored(session, owner_id, quota.max_stored_bytes, added_bytes=size_bytes)
    if quota.upload_bytes_per_day:
        await _check_daily_uploads(session, owner_id, size_bytes, quota.upload_bytes_per_day)


async def _check_daily_uploads(session: AsyncSession, owner_id: str, size_bytes: int, bytes_per_day: int) -> None:
    now = (await session.execute(select(db_now(0)))).scalar_one()
    statement = (
        select(col(ArtifactRow.created_at), col(ArtifactRow.size_bytes))
        .where(
            col(ArtifactRow.owner_id) == owner_id,
            col(ArtifactRow.kind) == ArtifactKind.UPLOAD,
            col(ArtifactRow.created_at) > now - DAY,
        )
        .order_by(col(ArtifactRow.created_at))
    )
    uploads = (await session.execute(statement)).all()
    excess_bytes = sum(size for _, size in uploads) + size_bytes - bytes_per_day
    if excess_bytes <= 0:
        return
    detail = f"This key may upload {bytes_per_day} bytes within a day, and has done so."
    raise RateLimited(detail, policies=["upload-bytes"], retry_after_s=_freed_in_s(uploads, excess_bytes, now))


def _freed_in_s(uploads: Sequence[Any], excess_bytes: int, now: datetime) -> int:
    for created_at, size_bytes in uploads:
        excess_bytes -= size_bytes
        if excess_bytes <= 0:
            return max(1, math.ceil((created_at + DAY - now).total_seconds()))
    return int(DAY.total_seconds())
