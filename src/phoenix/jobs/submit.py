"""Accepting work: one transaction writes the job, its tasks and the first event; 202 goes out after the commit.

Redis has no part in it, so that an outage of Redis can neither lose nor refuse a job.
"""

import math
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select
from sqlmodel import col

from phoenix.contract.events import JobQueued
from phoenix.contract.jobs import JobState
from phoenix.contract.requests import JobOptions
from phoenix.contract.resolved import ResolvedClip, ResolvedReel, ResolvedRequest
from phoenix.db.columns import db_now
from phoenix.db.turns import take_turn
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import QueueFull
from phoenix.ids import new_job_id, new_task_id
from phoenix.jobs import journal
from phoenix.jobs.announcements import TasksReady
from phoenix.jobs.find import FullJob
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.quota import Quota, check_quota
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.settings import LimitSettings

_DRAIN_WINDOW_S = 300

SUBMITS_AT_ONCE = 200
"""More than all replicas have under way together; only that close to the bound do submits wait for each other."""


async def submit(
    uow: UnitOfWork,
    resolved: ResolvedRequest,
    options: JobOptions,
    *,
    owner_id: str,
    request_id: str | None,
    traceparent: str | None = None,
    limits: LimitSettings,
    quota: Quota | None = None,
) -> FullJob:
    """Writes an admitted request as a queued job. Raises `QueueFull`, and `RateLimited` by the owner's quota."""
    if quota is not None:
        await check_quota(uow, owner_id, quota)
    await _check_room(uow, limits)
    job = await _new_job(uow, resolved, options, owner_id=owner_id, limits=limits)
    job.request_id, job.traceparent = request_id, traceparent
    uow.session.add(job)
    # Before the flush, so that it writes the number of this event too.
    await journal.record(uow, job, JobQueued)
    await uow.session.flush()
    tasks = plan_tasks(job, resolved)
    uow.session.add_all(tasks)
    uow.announce(TasksReady())
    return FullJob(job, tasks, output=None)


async def _check_room(uow: UnitOfWork, limits: LimitSettings) -> None:
    queued = await _count_queued(uow)
    if queued + SUBMITS_AT_ONCE > limits.max_queued_jobs:
        # Two that count at the same time would both see the last free place.
        await take_turn(uow.session, "submit")
        queued = await _count_queued(uow)
    if queued >= limits.max_queued_jobs:
        raise QueueFull(
            f"{limits.max_queued_jobs} jobs are waiting, which is the limit.",
            retry_after_s=await _room_in_s(uow),
        )


async def _room_in_s(uow: UnitOfWork) -> int:
    """Seconds until a place should be free, if as many jobs end as did lately."""
    statement = select(func.count()).select_from(JobRow).where(col(JobRow.finished_at) > db_now(-_DRAIN_WINDOW_S))
    ended = (await uow.session.execute(statement)).scalar_one()
    return math.ceil(_DRAIN_WINDOW_S / ended) if ended else _DRAIN_WINDOW_S


async def _count_queued(uow: UnitOfWork) -> int:
    statement = select(func.count()).select_from(JobRow).where(col(JobRow.state) == JobState.QUEUED)
    return (await uow.session.execute(statement)).scalar_one()


async def _new_job(
    uow: UnitOfWork,
    resolved: ResolvedRequest,
    options: JobOptions,
    *,
    owner_id: str,
    limits: LimitSettings,
) -> JobRow:
    now = await uow.now()
    reel = resolved if isinstance(resolved, ResolvedReel) else None
    return JobRow(
        id=new_job_id(),
        owner_id=owner_id,
        kind=resolved.kind,
        state=JobState.QUEUED,
        model=reel.model if reel else None,
        priority=options.priority,
        request=resolved.model_dump(mode="json"),
        # PostgreSQL's text cannot hold NUL, which a prompt may.
        words=" ".join(clip.prompt for clip in reel.clips).lower().replace("\0", " ") if reel else "",
        options=options.model_dump(mode="json", include={"metadata", "webhook"}),
        created_at=now,
        queued_at=now,
        queue_deadline_at=now + timedelta(seconds=options.queue_timeout_s or limits.default_queue_timeout_s),
        run_timeout_s=options.run_timeout_s or limits.default_run_timeout_s,
    )


def plan_tasks(job: JobRow, resolved: ResolvedRequest) -> Sequence[TaskRow]:
    """The tasks of a job: its clips, its soundtrack, and what puts them together once they are there."""
    clips = resolved.clips if isinstance(resolved, ResolvedReel) else []
    tasks = [_task(job, TaskKind.RENDER, clip.index, weight=clip_weight(clip)) for clip in clips]
    position = len(tasks)
    if resolved.kind == "soundtrack" or resolved.soundtrack is not None:
        tasks.append(_task(job, TaskKind.SOUNDTRACK, position))
        position += 1
    if resolved.kind != "soundtrack":
        state = TaskState.BLOCKED if tasks else TaskState.READY
        tasks.append(_task(job, TaskKind.ASSEMBLE, position, state=state))
    return tasks


def clip_weight(clip: ResolvedClip) -> float:
    """A clip's share of the work: denoising costs steps x pixels x frames, here in megapixels."""
    return clip.steps * clip.num_frames * clip.width * clip.height / 1e6


def _task(
    job: JobRow, kind: TaskKind, position: int, *, weight: float = 1.0, state: TaskState = TaskState.READY
) -> TaskRow:
    return TaskRow(
        id=new_task_id(),
        job_id=job.id,
        kind=kind,
        position=position,
        queue="gpu" if kind is TaskKind.RENDER else "media",
        state=state,
        weight=weight,
        ready_at=job.queued_at,
    )
