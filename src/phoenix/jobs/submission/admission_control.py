"""Admission control: whether the queue takes one more job, and the quotas of a key.

The limits are checked in the transaction that adds to what they limit; the queue's limit only once it is near.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.clock import plain_number
from phoenix.contract import ArtifactKind, JobState
from phoenix.db import UnitOfWork, acquire_lock, db_now
from phoenix.errors import QueueFull, RateLimited
from phoenix.jobs.scheduling.usage import usage_spans
from phoenix.jobs.tables import ArtifactRow, JobRow
from phoenix.settings import LimitSettings

MAX_CONCURRENT_SUBMITS = 200
"""More submits than all replicas handle at the same time. Submits wait for each other only this close to the limit."""

_DRAIN_WINDOW_S = 300
_COUNT_TTL_S = 1.0
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


async def _count_queued(uow: UnitOfWork, *, owner_id: str | None = None) -> int:
    statement = select(func.count()).select_from(JobRow).where(col(JobRow.state) == JobState.QUEUED)
    if owner_id is not None:
        statement = statement.where(col(JobRow.owner_id) == owner_id)
    return (await uow.session.execute(statement)).scalar_one()


DAY = timedelta(days=1)
_RETRY_AFTER_S = 30


@dataclass(frozen=True)
class Quota:
    """Limits of one key; 0 means no limit."""

    max_queued_jobs: int = 0
    gpu_seconds_per_day: float = 0

    @classmethod
    def from_settings(cls, limits: LimitSettings) -> "Quota":
        """The quota that the settings give every key."""
        return cls(limits.queued_jobs_per_key, limits.gpu_seconds_per_day)


async def check_quota(uow: UnitOfWork, owner_id: str, quota: Quota) -> None:
    """Raises `RateLimited` if the owner has used up one of its limits."""
    if quota.max_queued_jobs:
        # Otherwise two submits that count at the same time would both see the last free place.
        await acquire_lock(uow.session, f"submit:{owner_id}")
        if await _count_queued(uow, owner_id=owner_id) >= quota.max_queued_jobs:
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


async def check_uploads(session: AsyncSession, owner_id: str, *, size_bytes: int, bytes_per_day: int) -> None:
    """Raises `RateLimited` if `size_bytes` more would exceed the owner's daily uploads.

    Concurrent uploads see each other only if this is called in the transaction that adds the row.
    """
    if not bytes_per_day:
        return
    await acquire_lock(session, f"upload:{owner_id}")
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
