"""How a worker ends its attempt: success, failure, stop or release.

All are fenced: they raise `LeaseLost` if the attempt has lost its task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import text

from phoenix.contract import ArtifactKind, ClipCheck, ClipSucceeded, ClipTimings, ClipWarning, MediaInfo, ResolvedReel
from phoenix.db import UnitOfWork
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.ids import new_artifact_id
from phoenix.jobs import views
from phoenix.jobs.event_log.writer import append_event
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.execution.fan_in import advance_job, close_attempt, transition_task
from phoenix.jobs.execution.retries import RetryRule, discard_task, make_error, retry_task
from phoenix.jobs.lifecycle import AttemptEndState, LeaseLost, TaskKind, TaskState, find_continued, parse_stage
from phoenix.jobs.post_commit import FilesOrphaned, TasksReady
from phoenix.jobs.progress import job_progress
from phoenix.jobs.repository import TaskSummary, find_job_locked, list_task_summaries, list_tasks
from phoenix.jobs.reuse import reroll
from phoenix.jobs.scheduling.durations import assembly_shape, clip_shape, record_duration
from phoenix.jobs.tables import ArtifactRow, AttemptRow, JobRow, TaskRow
from phoenix.media.reel.playlist import SegmentedFile


@dataclass(frozen=True)
class AttemptOutput:
    """A file in the store. It becomes visible only when the attempt succeeds."""

    key: str
    media_type: str
    size_bytes: int
    sha256: str
    info: MediaInfo
    timings: ClipTimings = field(default_factory=ClipTimings)
    batch_size: int | None = None
    """For a clip: how many clips were rendered in the same call, including this clip."""
    warnings: tuple[ClipWarning, ...] = ()
    checks: tuple[ClipCheck, ...] = ()
    """For a clip: the checks that it has failed."""
    made_with: Mapping[str, str] = field(default_factory=dict[str, str])
    """Versions of the software that made the file, by package."""
    thumbnail: "AttemptOutput | None" = None
    """The thumbnail, which is published together with the file."""
    segments: SegmentedFile | None = None
    """For the segments of a clip: where they are in the file."""
    captions: tuple["AttemptOutput", ...] = ()
    """For a result: the files with its captions, which are published together with it."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the file, of its thumbnail and of its captions."""
        others = [*([self.thumbnail] if self.thumbnail else []), *self.captions]
        return (self.key, *(key for other in others for key in other.keys))

    @property
    def stored_bytes(self) -> int:
        """Bytes of the file and of its thumbnail."""
        return self.size_bytes + (self.thumbnail.size_bytes if self.thumbnail else 0)


@dataclass(frozen=True)
class AttemptRecord:
    """What a worker knows of its attempt at the end of it, in addition to the outcome."""

    stages: Mapping[str, float] = field(default_factory=dict[str, float])
    """Seconds by `Stage`."""
    log: tuple[Mapping[str, Any], ...] = ()
    """The lines that the worker logged, oldest first."""
    peak_memory_bytes: int | None = None
    """For a clip: the most device memory during the call; None on a CPU, and for an engine that does not measure it."""


NO_RECORD = AttemptRecord()


def is_job_output(job: JobRow, task: TaskRow) -> bool:
    """Whether the task's output is the job's output."""
    is_whole = task.kind is TaskKind.LIPSYNC and job.request.get("parts", 1) == 1
    return is_whole or task.kind is TaskKind.ASSEMBLE or job.kind == "soundtrack"


async def publish_output(uow: UnitOfWork, job: JobRow, task: TaskRow, output: AttemptOutput) -> ArtifactRow:
    """Adds the artifacts of an output and makes the output its task's. Returns the artifact of the output."""
    artifact = await _add_file(uow, job, output, _artifact_kind(job, task))
    if output.segments is not None:
        artifact.info = {**artifact.info, "segments": asdict(output.segments)}
    if output.thumbnail is not None:
        await _add_file(uow, job, output.thumbnail, ArtifactKind.THUMBNAIL)
    if output.captions:
        files = [await _add_file(uow, job, each, ArtifactKind.CAPTIONS) for each in output.captions]
        listed = [{"format": file.info["format"], "artifact_id": file.id} for file in files]
        artifact.info = {**artifact.info, "captions": listed}
    task.artifact_id = artifact.id
    # The clock of a database may be set back while a task waits.
    waited_s = max((task.started_at - task.waiting_since).total_seconds(), 0.0) if task.started_at else None
    timings = output.timings.model_copy(update={"queue_s": waited_s}).model_dump(mode="json")
    task.timings = {**timings, "batch_size": output.batch_size}
    task.made_with = dict(output.made_with)
    task.warnings = [warning.model_dump(mode="json") for warning in output.warnings]
    task.checks = [check.model_dump(mode="json") for check in output.checks]
    return artifact


def _artifact_kind(job: JobRow, task: TaskRow) -> ArtifactKind:
    if task.kind.makes_frames and not is_job_output(job, task):
        return ArtifactKind.CLIP
    if task.kind is TaskKind.NARRATE:
        return ArtifactKind.NARRATION
    if task.kind is TaskKind.SEGMENT:
        return ArtifactKind.SEGMENTS
    return ArtifactKind.OUTPUT if is_job_output(job, task) else ArtifactKind.SOUNDTRACK


async def _add_file(uow: UnitOfWork, job: JobRow, output: AttemptOutput, kind: ArtifactKind) -> ArtifactRow:
    artifact = ArtifactRow(
        id=new_artifact_id(),
        owner_id=job.owner_id,
        kind=kind,
        job_id=job.id,
        key=output.key,
        media_type=output.media_type,
        size_bytes=output.size_bytes,
        sha256=output.sha256,
        info=output.info.model_dump(mode="json"),
        created_at=await uow.now(),
    )
    uow.session.add(artifact)
    return artifact


def record_attempt_duration(
    uow: UnitOfWork, job: JobRow, task: TaskRow, output: AttemptOutput, *, ended_at: datetime
) -> None:
    """Records how long the attempt took. Estimates of later clips and assemblies use it."""
    request = job.parse_request()
    if not isinstance(request, ResolvedReel):
        return
    held_s = (ended_at - task.started_at).total_seconds() if task.started_at else 0.0
    if task.kind is TaskKind.ASSEMBLE:
        shape, weight = assembly_shape(request)
        record_duration(uow, shape, weight=weight, duration_s=held_s)
    elif task.kind is TaskKind.RENDER:
        timings = output.timings
        steps_s = sum(seconds or 0.0 for seconds in (timings.text_s, timings.denoise_s))
        finishing = (timings.decode_s, timings.postprocess_s, timings.encode_s, timings.upload_s)
        finish_s = sum(seconds or 0.0 for seconds in finishing)
        # Loading the model and waiting for the device say nothing about the duration of the next clip.
        duration_s = steps_s + finish_s or held_s
        shape = clip_shape(request.model, request.renders[task.position])
        record_duration(uow, shape, weight=task.weight, duration_s=duration_s, finish_s=finish_s)


async def succeed(uow: UnitOfWork, claim: Claim, output: AttemptOutput, record: AttemptRecord = NO_RECORD) -> None:
    """Publishes the attempt's output, unless it would complete a job that is already ending."""
    job, task = await _lock_claimed(uow, claim, record)
    if job.ending is not None and is_job_output(job, task):
        # With every task succeeded, a manual retry would find nothing to do, and the job could never succeed.
        uow.publish_after_commit(FilesOrphaned(output.keys), TasksReady())
        await _cancel_attempt(uow, job, task)
        return
    if _wants_reroll(job, task, output):
        await _reroll(uow, job, task, output)
        return
    artifact = await publish_output(uow, job, task, output)
    task.timings = {**task.timings, "peak_memory_bytes": record.peak_memory_bytes}
    await close_attempt(uow, job, task, AttemptEndState.SUCCEEDED, output_bytes=output.stored_bytes)
    transition_task(task, TaskState.SUCCEEDED, await uow.now())
    record_attempt_duration(uow, job, task, output, ended_at=await uow.now())
    if task.kind is TaskKind.RENDER:
        await uow.session.flush()
        tasks = await list_task_summaries(uow.session, job.id)
        await _record_reusable(uow, artifact, task, tasks)
        event = partial(
            ClipSucceeded,
            clip_index=task.position,
            attempt=task.attempt,
            artifact_id=artifact.id,
            url=views.clip_url(job.id, task.position),
            progress=job_progress(tasks),
            warnings=list(output.warnings),
            checks=list(output.checks),
        )
        await append_event(uow, job, event)
    elif task.kind is TaskKind.NARRATE:
        await uow.session.flush()
        await _record_reusable(uow, artifact, task, ())
    await advance_job(uow, job)
    uow.publish_after_commit(TasksReady())


def _wants_reroll(job: JobRow, task: TaskRow, output: AttemptOutput) -> bool:
    """Whether the clip has failed a check for the first time, and the request asks for another one then."""
    is_first = task.kind is TaskKind.RENDER and task.rerolled_from is None
    if not (output.checks and is_first) or job.ending is not None:
        return False
    request = job.parse_request()
    return isinstance(request, ResolvedReel) and request.on_failed_check == "reroll"


async def _reroll(uow: UnitOfWork, job: JobRow, task: TaskRow, output: AttemptOutput) -> None:
    """Leaves the file of a clip that failed a check, and queues the clip again with the next seed."""
    await reroll(uow, job, task, await list_tasks(uow.session, job.id))
    failed = " ".join(check.message for check in output.checks)
    message = f"{failed} It is rendered again with the next seed."
    error = make_error(task, FailureCode.ENGINE_FAILED, message, Stage.ENCODE, retriable=True)
    await close_attempt(uow, job, task, AttemptEndState.FAILED, error)
    await retry_task(uow, job, task, error, delay_s=0)
    uow.publish_after_commit(FilesOrphaned(output.keys), TasksReady())


# The first of two equal clips stays: clips that continue it fit to it alone.
_INSERT_REUSABLE = text(
    "INSERT INTO reusable_clips (owner_id, content_key, artifact_id, continues_key) "
    "VALUES (:owner_id, :content_key, :artifact_id, :continues_key) ON CONFLICT DO NOTHING"
)


async def _record_reusable(uow: UnitOfWork, artifact: ArtifactRow, task: TaskRow, tasks: Sequence[TaskSummary]) -> None:
    """Records a rendered clip for later jobs: see `jobs.reuse`. The artifact must have been flushed."""
    if task.content_key is None:
        return
    values: dict[str, str | None] = {"owner_id": artifact.owner_id, "content_key": task.content_key}
    values |= {"artifact_id": artifact.id, "continues_key": None}
    if (continued := find_continued(task)) is not None:
        # Segments have positions before the clips.
        clip_before = next(other for other in tasks if other.position == continued)
        before = await uow.session.get_one(ArtifactRow, clip_before.artifact_id)
        values["continues_key"] = before.key
    await uow.session.execute(_INSERT_REUSABLE, values)


async def fail(
    uow: UnitOfWork,
    claim: Claim,
    failure: TaskFailed,
    rule: RetryRule,
    record: AttemptRecord = NO_RECORD,
    *,
    jitter: float,
) -> None:
    """The attempt failed: the task is retried if that can help, or else fails its job."""
    job, task = await _lock_claimed(uow, claim, record)
    waits_for_space = failure.code is FailureCode.STORAGE_FULL
    task.failures += not waits_for_space
    error = make_error(task, failure.code, failure.detail, failure.stage, retriable=failure.retriable)
    if isinstance(claim.request, ResolvedReel) and task.kind is TaskKind.NARRATE:
        error = error.model_copy(update={"clip_index": claim.request.clip_of_narration(task.position).index})
    await close_attempt(uow, job, task, AttemptEndState.FAILED, error)
    delay_s = None if job.ending else rule.find_delay_s(failure, task.failures, attempt=task.attempt, jitter=jitter)
    if delay_s is None:
        await discard_task(uow, job, task, error)
    else:
        task.error = error.model_dump(mode="json") if waits_for_space else None
        await retry_task(uow, job, task, error, delay_s=delay_s)
    uow.publish_after_commit(TasksReady())


async def stop(uow: UnitOfWork, claim: Claim, stage: Stage | None = None, record: AttemptRecord = NO_RECORD) -> None:
    """The attempt stopped on request: its job is being canceled or has run out of time.

    `stage`: what the attempt did when it stopped. It is newer than the reported stage that a missed deadline named.
    """
    job, task = await _lock_claimed(uow, claim, record)
    if stage is not None and job.ending is not None and job.error and job.error["code"] == FailureCode.RUN_TIMEOUT:
        job.error = {**job.error, "stage": stage.value}
    if job.ending is None:
        # The request to stop was for an earlier attempt; without its task the job would be stuck.
        await _preempt(uow, job, task, "It was stopped by mistake.")
    else:
        await _cancel_attempt(uow, job, task)
    uow.publish_after_commit(TasksReady())


async def release(uow: UnitOfWork, claim: Claim, record: AttemptRecord = NO_RECORD) -> None:
    """A draining worker hands the task back. That does not count as a failure."""
    job, task = await _lock_claimed(uow, claim, record)
    await _preempt(uow, job, task, "The worker is shutting down.")


async def _preempt(uow: UnitOfWork, job: JobRow, task: TaskRow, why: str) -> None:
    task.preemptions += 1
    error = make_error(task, FailureCode.WORKER_LOST, why, parse_stage(task.kind, task.stage), retriable=True)
    await close_attempt(uow, job, task, AttemptEndState.PREEMPTED)
    await retry_task(uow, job, task, error, delay_s=0)


async def _cancel_attempt(uow: UnitOfWork, job: JobRow, task: TaskRow) -> None:
    await close_attempt(uow, job, task, AttemptEndState.CANCELED)
    transition_task(task, TaskState.CANCELED, await uow.now())
    await advance_job(uow, job)


async def _lock_claimed(uow: UnitOfWork, claim: Claim, record: AttemptRecord) -> tuple[JobRow, TaskRow]:
    """Locks job and task, checks the fencing token, and stores what the worker knows of the attempt."""
    job = await find_job_locked(uow.session, claim.job_id)
    task = await uow.session.get(TaskRow, claim.task_id, populate_existing=True)
    if job is None or task is None or not _is_held_by(claim, task):
        raise LeaseLost(f"attempt {claim.attempt} of {claim.task_id} is over")
    attempt = await uow.session.get_one(AttemptRow, (task.id, task.attempt))
    attempt.stages, attempt.log = dict(record.stages), [dict(line) for line in record.log]
    attempt.peak_memory_bytes = record.peak_memory_bytes
    return job, task


def _is_held_by(claim: Claim, task: TaskRow) -> bool:
    return task.state is TaskState.RUNNING and task.attempt == claim.attempt and task.lease_owner == claim.worker_id
