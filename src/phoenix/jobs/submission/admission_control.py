"""Admission control: whether the queue takes one more job. Counted in the transaction that adds it, near the limit."""

import math
import time
from collections.abc import Callable

from sqlalchemy import func, select
from sqlmodel import col

from phoenix.contract.jobs import JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork, acquire_lock
from phoenix.errors import QueueFull
from phoenix.jobs.tables import JobRow

MAX_CONCURRENT_SUBMITS = 200
"""More than all replicas handle at the same time; only this close to the limit do submits wait for each other."""

_DRAIN_WINDOW_S = 300
_COUNT_TTL_S = 1.0
_REPLICAS = 20


class QueueCapacity:
    """What one process counted last: counting 10,000 waiting jobs for every submit cost PostgreSQL 1 ms each time.

    Not relied on in the last tenth before the limit, which is exceeded only if that many jobs, a thousand by
    default, arrive within a second.
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
        free = limit - queued - MAX_CONCURRENT_SUBMITS
        # Other replicas have counted the same free places.
        self._remaining = free // _REPLICAS if free > limit // 10 else 0
        self._expires_s = self._clock_s() + _COUNT_TTL_S


async def check_capacity(uow: UnitOfWork, capacity: QueueCapacity, *, limit: int) -> None:
    """Raises `QueueFull` if `limit` jobs wait."""
    if capacity.try_acquire():
        return
    queued = await _count_queued(uow)
    capacity.update(queued, limit)
    if queued + MAX_CONCURRENT_SUBMITS > limit:
        # Two submits that count at the same time would both see the last free place.
        await acquire_lock(uow.session, "submit")
        queued = await _count_queued(uow)
    if queued >= limit:
        raise QueueFull(f"{limit} jobs are waiting, which is the limit.", retry_after_s=await _capacity_in_s(uow))


async def _capacity_in_s(uow: UnitOfWork) -> int:
    """Seconds until a place should be free, if as many jobs end as did lately."""
    statement = select(func.count()).select_from(JobRow).where(col(JobRow.finished_at) > db_now(-_DRAIN_WINDOW_S))
    ended = (await uow.session.execute(statement)).scalar_one()
    return math.ceil(_DRAIN_WINDOW_S / ended) if ended else _DRAIN_WINDOW_S


async def _count_queued(uow: UnitOfWork) -> int:
    statement = select(func.count()).select_from(JobRow).where(col(JobRow.state) == JobState.QUEUED)
    return (await uow.session.execute(statement)).scalar_one()
