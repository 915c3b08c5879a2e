"""Accepts jobs: one transaction writes the job, its tasks and the first event. The 202 is sent after the commit.

Redis is not involved, so that an outage of Redis can neither lose nor refuse a job.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from phoenix.contract import (
    ClipCheck,
    ClipSucceeded,
    ClipWarning,
    JobOptions,
    JobQueued,
    JobState,
    QueueName,
    ResolvedClip,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
)
from phoenix.db import UnitOfWork, change_new_row, insert_rows, new_row
from phoenix.ids import JobId, new_job_id, new_task_id
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.library.words import words_of_job
from phoenix.jobs.lifecycle import TaskKind, TaskState, is_unblocked
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.progress import job_progress
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import NO_EARLIER_WORK, EarlierWork, content_keys, find_reusable, narration_keys, reuse_clip
from phoenix.jobs.submission.admission_control import QueueCapacity, Quota, check_capacity, check_quota
from phoenix.jobs.submission.file_references import pin_references
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow
from phoenix.jobs.views import clip_url
from phoenix.settings import LimitSettings


@dataclass(frozen=True)
class DraftLink:
    """How a new job belongs to a draft: it waits for the approval of the draft, or it is the draft."""

    job_id: JobId
    """The id of the new job, which the other job names."""
    draft_job_id: JobId | None = None
    draft_of: JobId | None = None


async def submit(  # noqa: PLR0913 - what a job is, whose it is, and what it belongs to
    uow: UnitOfWork,
    resolved: ResolvedRequest,
    options: JobOptions,
    *,
    owner_id: str,
    request_id: str | None,
    traceparent: str | None = None,
    limits: LimitSettings,
    quota: Quota | None = None,
    capacity: QueueCapacity | None = None,
    earlier: EarlierWork = NO_EARLIER_WORK,
    link: DraftLink | None = None,
) -> FullJob:
    """Writes an admitted request as a queued job, or as a held job if `link` names a draft.

    Raises `QueueFull`, `RateLimited` by the owner's quota, and `InvalidRequest` if a file that it names was deleted.
    `capacity`: the last count of this process; without it, the queued jobs are counted again. `earlier`: what
    it may take from earlier jobs.
    """
    if quota is not None:
        await check_quota(uow, owner_id, quota, capacity)
    await check_capacity(uow, capacity or QueueCapacity(), limit=limits.max_queued_jobs)
    hashes = await pin_references(uow, resolved, owner_id=owner_id)
    job = await new_job(uow, resolved, options, owner_id=owner_id, limits=limits)
    job.request_id, job.traceparent, job.edited_from = request_id, traceparent, earlier.edited_from
    if link is not None:
        _link(job, link, limits)
    # Before the insert, so that the job's row is written with the number of this event. A delivery of the event is
    # flushed after it, at the end of the transaction.
    await append_event(uow, job, JobQueued)
    tasks, reused = await plan_work(uow, job, resolved, hashes, earlier.reusable)
    await _append_reused(uow, job, tasks)
    await insert_rows(uow.session, [job])
    await insert_rows(uow.session, tasks)
    await insert_rows(uow.session, reused)
    uow.publish_after_commit(TasksReady())
    return FullJob(job, tasks, output=None, resolved=resolved)


def _link(job: JobRow, link: DraftLink, limits: LimitSettings) -> None:
    job.id, job.draft_job_id, job.draft_of = link.job_id, link.draft_job_id, link.draft_of
    if link.draft_job_id is not None:
        job.state, job.queue_deadline_at = JobState.HELD, None
        job.approval_timeout_s = limits.approval_timeout_s


async def plan_work(
    uow: UnitOfWork,
    job: JobRow,
    resolved: ResolvedRequest,
    hashes: Mapping[str, str],
    reusable: Collection[int],
) -> tuple[Sequence[TaskRow], Sequence[ArtifactRow]]:
    """The tasks of a new job, and the job's rows of the files that it reuses. The caller inserts both.

    Gives each clip its content key, and ends the clips of which the owner has an equal one.
    """
    tasks = plan_tasks(job, resolved)
    if job.state is JobState.HELD:
        for task in tasks:
            change_new_row(task, state=TaskState.BLOCKED)
    if not isinstance(resolved, ResolvedReel):
        return tasks, ()
    keys = {**content_keys(resolved, hashes), **narration_keys(resolved)}
    for index, key in keys.items():
        change_new_row(tasks[index], content_key=key)
    found = await find_reusable(uow, resolved, keys, reusable, owner_id=job.owner_id)
    artifacts = [reuse_clip(job, tasks[index], clip, job.created_at) for index, clip in found.items()]
    if artifacts and job.state is not JobState.HELD:
        _unblock(tasks)
    return tasks, artifacts


def _unblock(tasks: Sequence[TaskRow]) -> None:
    for task in tasks:
        if task.state is TaskState.BLOCKED and is_unblocked(task, tasks):
            change_new_row(task, state=TaskState.READY)


async def _append_reused(uow: UnitOfWork, job: JobRow, tasks: Sequence[TaskRow]) -> None:
    for task in tasks:
        if task.is_reused and task.artifact_id and task.kind is TaskKind.RENDER:
            event = partial(
                ClipSucceeded,
                clip_index=task.position,
                attempt=task.attempt,
                artifact_id=task.artifact_id,
                url=clip_url(job.id, task.position),
                progress=job_progress(tasks),
                warnings=[ClipWarning.model_validate(warning) for warning in task.warnings],
                reused=True,
                checks=[ClipCheck.model_validate(check) for check in task.checks],
            )
            await append_event(uow, job, event)


async def new_job(
    uow: UnitOfWork,
    resolved: ResolvedRequest,
    options: JobOptions,
    *,
    owner_id: str,
    limits: LimitSettings,
) -> JobRow:
    """The row of an admitted request, which the caller inserts."""
    now = await uow.now()
    request = resolved.model_dump(mode="json")
    words = words_of_job(
        request, owner_id=owner_id, title=options.title, tags=options.tags, metadata=options.metadata, favorite=False
    )
    return JobRow(
        id=new_job_id(),
        owner_id=owner_id,
        kind=resolved.kind,
        state=JobState.QUEUED,
        model=resolved.model if isinstance(resolved, ResolvedReel) else None,
        title=options.title,
        tags=options.tags,
        priority=options.priority,
        request=request,
        search_title=words.title,
        search_text=words.text,
        search_filters=words.filters,
        options=options.model_dump(mode="json", include={"metadata", "webhook", "queue_timeout_s"}),
        created_at=now,
        queued_at=now,
        queue_deadline_at=now + timedelta(seconds=options.queue_timeout_s or limits.default_queue_timeout_s),
        run_timeout_s=options.run_timeout_s or limits.default_run_timeout_s,
    )


def plan_tasks(job: JobRow, resolved: ResolvedRequest) -> Sequence[TaskRow]:
    """The tasks of a job: its clips, its narration, its soundtrack, and the assembly that waits for all of them.

    A lip-sync is one task, or a task for each of its parts and an assembly.

    A clip that continues the clip before it waits for that clip, and a clip whose lips say its narration waits for the
    narration. Each take of a clip is a task.
    """
    if isinstance(resolved, ResolvedLipsync):
        parts = [_task(job, TaskKind.LIPSYNC, position, queue="gpu") for position in range(resolved.parts)]
        whole = [_task(job, TaskKind.ASSEMBLE, resolved.parts, prerequisites=range(resolved.parts))]
        return parts if resolved.parts == 1 else [*parts, *whole]
    clips = resolved.renders if isinstance(resolved, ResolvedReel) else []
    queue = "remote" if isinstance(resolved, ResolvedReel) and resolved.is_remote else "gpu"
    tasks: list[TaskRow] = []
    if isinstance(resolved, ResolvedReel):
        tasks += [_render_task(job, clip, resolved, queue) for clip in clips]
        tasks += [_task(job, TaskKind.NARRATE, resolved.position_of_narration(clip)) for clip in resolved.narrated]
    position = len(tasks)
    # Where clips grow to their narration, nobody knows before how long the soundtrack is.
    spoken = range(len(clips), position) if isinstance(resolved, ResolvedReel) and resolved.fit_narration else ()
    if resolved.kind == "soundtrack" or resolved.soundtrack is not None:
        tasks.append(_task(job, TaskKind.SOUNDTRACK, position, prerequisites=spoken))
        position += 1
    if resolved.kind != "soundtrack":
        tasks.append(_task(job, TaskKind.ASSEMBLE, position, prerequisites=range(position)))
    return tasks


def _render_task(job: JobRow, clip: ResolvedClip, reel: ResolvedReel, queue: QueueName) -> TaskRow:
    before = [clip.place - 1] if clip.continues_previous else []
    said = [reel.position_of_narration(reel.clips[clip.place])] if clip.says_narration else []
    return _task(
        job, TaskKind.RENDER, clip.index, queue=queue, weight=clip_weight(clip), prerequisites=[*before, *said]
    )


def clip_weight(clip: ResolvedClip) -> float:
    """A clip's share of the work: denoising costs steps x pixels x frames, here in megapixels."""
    return clip.steps * clip.num_frames * clip.width * clip.height / 1e6


def _task(
    job: JobRow,
    kind: TaskKind,
    position: int,
    *,
    queue: QueueName = "media",
    weight: float = 1.0,
    prerequisites: Iterable[int] = (),
) -> TaskRow:
    waits_for = list(prerequisites)
    return new_row(
        TaskRow,
        id=new_task_id(),
        job_id=job.id,
        kind=kind,
        position=position,
        queue=queue,
        state=TaskState.BLOCKED if waits_for else TaskState.READY,
        weight=weight,
        prerequisites=waits_for,
        timings={},
        warnings=[],
        checks=[],
        made_with={},
        waiting_since=job.queued_at,
        eligible_at=job.queued_at,
    )
