"""Claims of tasks, and the renewal of their leases. A claim gives its worker a fencing token and a lease."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import case, select, update
from sqlmodel import col

from phoenix.contract import (
    CheckCode,
    ClipProgress,
    ClipStarted,
    JobAssembling,
    JobStarted,
    JobState,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
)
from phoenix.db import UnitOfWork, db_now
from phoenix.errors import Stage
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.lifecycle import TaskKind, TaskState, can_claim, check_job_transition, find_continued
from phoenix.jobs.progress import recorded_progress
from phoenix.jobs.repository import TaskSummary, find_job_locked, list_task_summaries, list_tasks
from phoenix.jobs.scheduling.durations import DurationPerWeight, clip_shape, read_duration_stats
from phoenix.jobs.scheduling.pauses import read_pauses
from phoenix.jobs.tables import AttemptRow, JobRow, TaskRow


@dataclass(frozen=True)
class Claim:
    """The right to work on one task for as long as its lease is renewed. The worker's writes are checked against it."""

    task_id: str
    attempt: int
    worker_id: str
    job_id: str
    owner_id: str
    kind: TaskKind
    position: int
    request: ResolvedRequest
    request_id: str | None
    traceparent: str | None = None
    clip_artifact_ids: tuple[str, ...] = ()
    """Artifact ids of the clips that are done, in order: for an assembly all clips, for segments all up to theirs."""
    soundtrack_artifact_id: str | None = None
    narration_artifact_ids: tuple[str, ...] = ()
    """For an assembly: artifact ids of the narration, in the order of the narrated clips."""
    previous_artifact_id: str | None = None
    """For a clip that continues the clip before it: the artifact of that clip."""
    speech_artifact_id: str | None = None
    """For a clip whose lips say its narration: the artifact of the narration."""
    weights: tuple[float, ...] = ()
    """Weights of the job's clips, for the progress of the whole job."""
    prerequisites: tuple[tuple[int, ...], ...] = ()
    """For each of the job's clips: indices of the clips that it waits for."""
    has_no_face: bool = False
    """For the assembly of a lip-sync: whether no part has found a face."""
    done_clips: frozenset[int] = frozenset()
    """Indices of the clips that are done: Redis may have lost their progress."""
    duration: DurationPerWeight | None = None
    """Learned from similar clips; None if none has been rendered yet."""
    assembly_s: float | None = None
    """For a clip: how long the job's assembly will take, if known."""
    job_progress: float = 0.0
    """Progress of the whole job (0 to 1) that was recorded before: this attempt must not publish less."""
    last_seq: int = 0
    """Number of the job's last durable event when the task was claimed."""


async def claim(uow: UnitOfWork, task_id: str, dispatch_seq: int, *, worker_id: str, lease_s: float) -> Claim | None:
    """Claims the task. None if the message is stale: the task was claimed, has ended, or was dispatched again."""
    job_id = (await uow.session.scalars(select(col(TaskRow.job_id)).where(col(TaskRow.id) == task_id))).one_or_none()
    job = await find_job_locked(uow.session, job_id) if job_id else None
    if job is None or job.ending is not None:
        return None
    task = await uow.session.get_one(TaskRow, task_id, populate_existing=True)
    is_stale = task.state is not TaskState.READY or task.dispatch_seq != dispatch_seq
    if is_stale or not can_claim(job.state, task.kind):
        return None
    if (await read_pauses(uow.session)).find(job, task):
        # The dispatcher had no time to take the message back. It sends another one after the pause.
        task.dispatched_at = None
        return None
    # Read once: a long request takes milliseconds.
    request = job.parse_request()
    tasks = await list_task_summaries(uow.session, job.id)
    await _start_attempt(uow, task, worker_id=worker_id, lease_s=lease_s)
    await _append_start_events(uow, job, task, request, worker_id)
    duration, assembly_s = await _find_duration(uow, task, request)
    # The parts of a lip-sync count as clips, though the job does not show them.
    clips = [other for other in tasks if other.kind.makes_frames]
    sound = [other.artifact_id for other in tasks if other.kind is TaskKind.SOUNDTRACK]
    return Claim(
        task_id=task.id,
        attempt=task.attempt,
        worker_id=worker_id,
        job_id=job.id,
        owner_id=job.owner_id,
        kind=task.kind,
        position=task.position,
        request=request,
        request_id=job.request_id,
        traceparent=job.traceparent,
        clip_artifact_ids=_list_shown(request, clips),
        soundtrack_artifact_id=sound[0] if sound else None,
        narration_artifact_ids=tuple(
            other.artifact_id for other in tasks if other.kind is TaskKind.NARRATE and other.artifact_id
        ),
        previous_artifact_id=_find_previous(task, clips),
        speech_artifact_id=_find_speech(task, tasks),
        weights=tuple(clip.weight for clip in clips),
        prerequisites=tuple(tuple(clip.prerequisites) for clip in clips),
        has_no_face=await _lacks_faces(uow, task, request),
        done_clips=frozenset(clip.position for clip in clips if clip.state is TaskState.SUCCEEDED),
        duration=duration,
        assembly_s=assembly_s,
        job_progress=recorded_progress(tasks).job_progress,
        last_seq=job.last_seq,
    )


def _list_shown(request: ResolvedRequest, clips: Sequence[TaskSummary]) -> tuple[str, ...]:
    """The artifacts of the takes that the reel shows, or of the parts of a lip-sync, as far as they are done."""
    count = len(request.clips) if isinstance(request, ResolvedReel) else len(clips)
    return tuple(clip.artifact_id for clip in clips[:count] if clip.artifact_id)


async def _lacks_faces(uow: UnitOfWork, task: TaskRow, request: ResolvedRequest) -> bool:
    """Whether the task joins the parts of a lip-sync, and none of them has a frame with a face."""
    if task.kind is not TaskKind.ASSEMBLE or not isinstance(request, ResolvedLipsync):
        return False
    parts = [part for part in await list_tasks(uow.session, task.job_id) if part.kind is TaskKind.LIPSYNC]
    return all(any(check["code"] == CheckCode.NO_FACE for check in part.checks) for part in parts)


def _find_previous(task: TaskRow, clips: Sequence[TaskSummary]) -> str | None:
    continued = find_continued(task) if task.kind is TaskKind.RENDER else None
    return None if continued is None else clips[continued].artifact_id


def _find_speech(task: TaskRow, tasks: Sequence[TaskSummary]) -> str | None:
    """The narration that the lips of a clip say, for which it has waited."""
    if task.kind is not TaskKind.RENDER:
        return None
    said = (other for other in tasks if other.kind is TaskKind.NARRATE and other.position in task.prerequisites)
    return next((other.artifact_id for other in said), None)


async def _find_duration(
    uow: UnitOfWork, task: TaskRow, request: ResolvedRequest
) -> tuple[DurationPerWeight | None, float | None]:
    if task.kind is not TaskKind.RENDER or not isinstance(request, ResolvedReel):
        return None, None
    durations = await read_duration_stats(uow.session)
    shape = clip_shape(request.model, request.renders[task.position])
    return durations.find(shape), durations.estimate_assembly_s(request)


async def _start_attempt(uow: UnitOfWork, task: TaskRow, *, worker_id: str, lease_s: float) -> None:
    now = await uow.now()
    task.state = TaskState.RUNNING
    task.attempt += 1
    task.lease_owner = worker_id
    task.lease_until = now + timedelta(seconds=lease_s)
    task.started_at = now
    task.stage = None
    task.error = None
    # The clock of a database may be set back while a task waits.
    waited_s = max((now - task.waiting_since).total_seconds(), 0.0)
    uow.session.add(
        AttemptRow(task_id=task.id, number=task.attempt, worker_id=worker_id, started_at=now, waited_s=waited_s)
    )


async def _append_start_events(
    uow: UnitOfWork, job: JobRow, task: TaskRow, request: ResolvedRequest, worker_id: str
) -> None:
    if not task.kind.decides_job:
        return
    if job.state is JobState.QUEUED:
        check_job_transition(job.state, JobState.RUNNING)
        job.state = JobState.RUNNING
        job.started_at = await uow.now()
        job.run_deadline_at = job.started_at + timedelta(seconds=job.run_timeout_s)
        await append_event(uow, job, JobStarted)
    if task.kind is TaskKind.RENDER:
        assert isinstance(request, ResolvedReel)
        event = partial(
            ClipStarted,
            clip_index=task.position,
            attempt=task.attempt,
            steps=request.renders[task.position].steps,
            worker_id=worker_id,
        )
        await append_event(uow, job, event)
    elif task.kind is TaskKind.ASSEMBLE:
        await append_event(uow, job, JobAssembling)


_NO_STAGES: Mapping[str, Stage | None] = {}


async def renew_leases(
    uow: UnitOfWork,
    *,
    worker_id: str,
    task_ids: list[str],
    lease_s: float,
    stages: Mapping[str, Stage | None] = _NO_STAGES,
) -> Mapping[tuple[str, int], str | None]:
    """Extends the leases of the tasks that the worker still holds, and records their `stages` by task id, if known.

    Returns the reason to stop, or None, by (task id, attempt). A missing attempt has lost its task: its writes are
    void.
    """
    held = (
        col(TaskRow.lease_owner) == worker_id,
        col(TaskRow.state) == TaskState.RUNNING,
        col(TaskRow.id).in_(task_ids),
    )
    # Locked in order of id, as a flush does: a cancel that stops several of these tasks must not deadlock with this.
    known = {task_id: stage for task_id, stage in stages.items() if stage is not None}
    recorded = {"stage": case(known, value=col(TaskRow.id), else_=col(TaskRow.stage))} if known else {}
    in_order = select(col(TaskRow.id)).where(*held).order_by(col(TaskRow.id)).with_for_update()
    statement = (
        update(TaskRow)
        .where(*held, col(TaskRow.id).in_(in_order))
        .values(lease_until=db_now(lease_s), **recorded)
        .returning(col(TaskRow.id), col(TaskRow.attempt), col(TaskRow.stop_reason))
        .execution_options(synchronize_session=False)
    )
    rows = await uow.session.execute(statement)
    return {(task_id, attempt): stop_reason for task_id, attempt, stop_reason in rows}


async def record_progress(uow: UnitOfWork, claim: Claim, progress: ClipProgress, stage: Stage) -> bool:
    """Records what the worker is about to publish, and the stage of the attempt.

    False, without a change, if the attempt has lost its task.
    """
    statement = (
        update(TaskRow)
        .where(
            col(TaskRow.id) == claim.task_id,
            col(TaskRow.attempt) == claim.attempt,
            col(TaskRow.lease_owner) == claim.worker_id,
            col(TaskRow.state) == TaskState.RUNNING,
        )
        .values(progress=progress.model_dump(mode="json"), stage=stage)
        .returning(col(TaskRow.id))
        .execution_options(synchronize_session=False)
    )
    return (await uow.session.execute(statement)).first() is not None
