"""Model affinity: whether a worker skips a clip in favor of a worker that has the clip's model in memory.

Loading a model takes as long as rendering a clip or two, so a short wait is worth it. The wait is bounded.
`should_skip` is the decision, and pure.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import UnitOfWork, db_now
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.workers import HOLDS_SLOT, list_live
from phoenix.jobs.tables import JobRow, TaskRow


@dataclass(frozen=True)
class Candidate:
    """Another live worker that could take the clip."""

    models: Collection[str]
    """Ids of the models in its memory."""
    free_slots: int


@dataclass(frozen=True)
class PendingClaim:
    """A clip that a worker is about to claim."""

    model: str
    skipped_for_s: float | None
    """Seconds since a worker first skipped the clip; None if none has."""
    dispatched_models: Collection[str]
    """Models of the other clips that are dispatched."""


def should_skip(
    pending: PendingClaim, loaded_models: Collection[str], others: Collection[Candidate], *, wait_s: float
) -> bool:
    """Whether a worker with `loaded_models` in memory should skip the clip.

    It skips the clip if an idle worker has the clip's model. It skips the clip for a busy worker only if another clip
    waits for a model in `loaded_models`, so that no worker stands idle. After `wait_s` of skipping, any worker takes
    the clip.
    """
    if pending.model in loaded_models or (pending.skipped_for_s is not None and pending.skipped_for_s >= wait_s):
        return False
    holders = [other for other in others if pending.model in other.models]
    if any(holder.free_slots > 0 for holder in holders):
        return wait_s > 0
    return bool(holders) and wait_s > 0 and any(model in loaded_models for model in pending.dispatched_models)


_QUEUE = "gpu"
_MAX_SCANNED = 100
"""Dispatched clips to look at: enough to find one for a model that the worker holds."""


async def skip_for_affinity(
    uow: UnitOfWork,
    task_id: str,
    dispatch_seq: int,
    *,
    worker_id: str,
    loaded_models: Collection[str],
    wait_s: float,
) -> bool:
    """Whether this worker, with `loaded_models` in memory, should skip the task for now. If so, records since when."""
    pending = await _find_pending_claim(
        uow.session, task_id, dispatch_seq, await uow.now(), loaded_models=loaded_models
    )
    if pending is None:
        return False
    others = await _list_candidates(uow.session, except_worker_id=worker_id)
    if not should_skip(pending, loaded_models, others, wait_s=wait_s):
        return False
    first = update(TaskRow).where(
        col(TaskRow.id) == task_id,
        col(TaskRow.dispatch_seq) == dispatch_seq,
        col(TaskRow.affinity_skipped_at).is_(None),
    )
    await uow.session.execute(first.values(affinity_skipped_at=db_now(0)))
    return True


async def _find_pending_claim(
    session: AsyncSession, task_id: str, dispatch_seq: int, now: datetime, *, loaded_models: Collection[str]
) -> PendingClaim | None:
    """None if there is nothing to decide: the message is stale, or this worker is as good as any."""
    statement = (
        select(col(JobRow.model), col(TaskRow.affinity_skipped_at))
        .join(TaskRow, col(TaskRow.job_id) == col(JobRow.id))
        .where(
            col(TaskRow.id) == task_id,
            col(TaskRow.dispatch_seq) == dispatch_seq,
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == _QUEUE,
        )
    )
    found = (await session.execute(statement)).one_or_none()
    model, affinity_skipped_at = found if found is not None else (None, None)
    if model is None or model in loaded_models:
        return None
    skipped_for_s = None if affinity_skipped_at is None else (now - affinity_skipped_at).total_seconds()
    return PendingClaim(model, skipped_for_s, await _list_dispatched_models(session, except_task_id=task_id))


async def _list_dispatched_models(session: AsyncSession, *, except_task_id: str) -> frozenset[str]:
    statement = (
        select(col(JobRow.model))
        .join(TaskRow, col(TaskRow.job_id) == col(JobRow.id))
        .where(
            col(TaskRow.state) == TaskState.READY,
            col(TaskRow.queue) == _QUEUE,
            col(TaskRow.dispatched_at).is_not(None),
            col(TaskRow.id) != except_task_id,
        )
        .limit(_MAX_SCANNED)
    )
    return frozenset(model for model in await session.scalars(statement) if model)


async def _list_candidates(session: AsyncSession, *, except_worker_id: str) -> list[Candidate]:
    statement = select(col(TaskRow.lease_owner)).where(HOLDS_SLOT, col(TaskRow.queue) == _QUEUE)
    busy = Counter(await session.scalars(statement))
    return [
        Candidate(row.models, row.slots[_QUEUE] - busy[row.id])
        for row in await list_live(session)
        # A draining worker reports no slots.
        if row.id != except_worker_id and row.slots.get(_QUEUE, 0) > 0
    ]
