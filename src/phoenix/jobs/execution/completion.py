"""The ways in which a worker ends its attempt. All are fenced: they raise `LeaseLost` once its lease is lost."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from phoenix.contract.artifacts import ArtifactKind, MediaInfo
from phoenix.contract.events import ClipSucceeded
from phoenix.contract.jobs import ClipTimings
from phoenix.contract.resolved import ResolvedReel
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.ids import new_artifact_id
from phoenix.jobs import views
from phoenix.jobs.event_log import writer
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.execution.job_completion import move_task, settle
from phoenix.jobs.execution.retries import RetryRule, close_attempt, error_of, give_up, try_again
from phoenix.jobs.lifecycle import LeaseLost, Outcome, TaskKind, TaskState, retry_delay_s
from phoenix.jobs.post_commit import FilesOrphaned, TasksReady
from phoenix.jobs.progress import job_progress
from phoenix.jobs.repository import find_job_locked, list_tasks
from phoenix.jobs.scheduling.durations import assembly_of, learn, shape_of
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow


@dataclass(frozen=True)
class Result:
    """A file in the store, which becomes visible only when the attempt succeeds."""

    key: str
    media_type: str
    size_bytes: int
    sha256: str
    info: MediaInfo
    timings: ClipTimings = field(default_factory=ClipTimings)
    batch_size: int | None = None
    """For a clip: how many were rendered in the same call, this one included."""
    thumbnail: "Result | None" = None
    """Its thumbnail, stored beside it and published with it."""

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *(self.thumbnail.keys if self.thumbnail else ()))


def completes(job: JobRow, task: TaskRow) -> bool:
    """Whether the task's result is the job's result."""
    return task.kind is TaskKind.ASSEMBLE or job.kind == "soundtrack"


async def publish(uow: UnitOfWork, job: JobRow, task: TaskRow, result: Result) -> ArtifactRow:
    """Makes the result that of its task."""
    artifact = await _add_file(uow, job, result, _kind_of_result(job, task))
    if result.thumbnail is not None:
        await _add_file(uow, job, result.thumbnail, ArtifactKind.THUMBNAIL)
    task.artifact_id = artifact.id
    waited_s = (task.started_at - task.ready_at).total_seconds() if task.started_at else None
    timings = result.timings.model_copy(update={"queue_s": waited_s}).model_dump(mode="json")
    task.timings = {**timings, "batch_size": result.batch_size}
    return artifact


def _kind_of_result(job: JobRow, task: TaskRow) -> ArtifactKind:
    if task.kind is TaskKind.RENDER:
        return ArtifactKind.CLIP
    return ArtifactKind.OUTPUT if completes(job, task) else ArtifactKind.SOUNDTRACK


async def _add_file(uow: UnitOfWork, job: JobRow, result: Result, kind: ArtifactKind) -> ArtifactRow:
    artifact = ArtifactRow(
        id=new_artifact_id(),
        owner_id=job.owner_id,
        kind=kind,
        job_id=job.id,
        key=result.key,
        media_type=result.media_type,
        size_bytes=result.size_bytes,
        sha256=result.sha256,
        info=result.info.model_dump(mode="json"),
        created_at=await uow.now(),
    )
    uow.session.add(artifact)
    return artifact


def learn_pace(uow: UnitOfWork, job: JobRow, task: TaskRow, result: Result, *, ended_at: datetime) -> None:
    request = views.parse_request(job)
    if not isinstance(request, ResolvedReel):
        return
    held_s = (ended_at - task.started_at).total_seconds() if task.started_at else 0.0
    if task.kind is TaskKind.ASSEMBLE:
        shape, weight = assembly_of(request)
        learn(uow, shape, weight=weight, spent_s=held_s)
    elif task.kind is TaskKind.RENDER:
        timings = result.timings
        steps_s = sum(seconds or 0.0 for seconds in (timings.text_s, timings.denoise_s))
        finish_s = sum(seconds or 0.0 for seconds in (timings.decode_s, timings.encode_s, timings.upload_s))
        # Loading the model and waiting for the device say nothing about the pace of the next clip.
        spent_s = steps_s + finish_s or held_s
        shape = shape_of(request.model, request.clips[task.position])
        learn(uow, shape, weight=task.weight, spent_s=spent_s, finish_s=finish_s)


async def succeed(uow: UnitOfWork, claim: Claim, result: Result) -> None:
    """Publishes the attempt's result, unless it would complete a job that is already ending."""
    job, task = await _hold(uow, claim)
    if job.ending is not None and completes(job, task):
        # With every task succeeded, a manual retry would find nothing to do, and the job could never succeed.
        uow.announce(FilesOrphaned(result.keys), TasksReady())
        await _cancel_attempt(uow, job, task)
        return
    artifact = await publish(uow, job, task, result)
    await close_attempt(uow, task, Outcome.SUCCEEDED)
    move_task(task, TaskState.SUCCEEDED, await uow.now())
    learn_pace(uow, job, task, result, ended_at=await uow.now())
    if task.kind is TaskKind.RENDER:
        await uow.session.flush()
        event = partial(
            ClipSucceeded,
            clip_index=task.position,
            attempt=task.attempt,
            artifact_id=artifact.id,
            url=views.clip_url(job.id, task.position),
            progress=job_progress(await list_tasks(uow.session, job.id)),
        )
        await writer.record(uow, job, event)
    await settle(uow, job)
    uow.announce(TasksReady())


async def fail(uow: UnitOfWork, claim: Claim, failure: TaskFailed, rule: RetryRule, *, jitter: float) -> None:
    """The attempt failed: the task is retried if that can help, or else fails its job."""
    job, task = await _hold(uow, claim)
    task.failures += 1
    error = error_of(task, failure.code, failure.detail, failure.stage, retriable=failure.retriable)
    await close_attempt(uow, task, Outcome.FAILED, error)
    if failure.retriable and task.failures < rule.max_failures and job.ending is None:
        delay_s = retry_delay_s(task.failures, first_s=rule.first_delay_s, jitter=jitter)
        await try_again(uow, job, task, error, delay_s=delay_s)
    else:
        await give_up(uow, job, task, error)
    uow.announce(TasksReady())


async def stop(uow: UnitOfWork, claim: Claim) -> None:
    """The attempt stopped on request: its job is being canceled or has run out of time."""
    job, task = await _hold(uow, claim)
    if job.ending is None:
        # The bell that stopped it was rung for an earlier attempt; without its task the job would be stuck.
        await _hand_back(uow, job, task, "It was stopped by mistake.")
    else:
        await _cancel_attempt(uow, job, task)
    uow.announce(TasksReady())


async def release(uow: UnitOfWork, claim: Claim) -> None:
    """A draining worker hands the task back. That does not count as a failure."""
    job, task = await _hold(uow, claim)
    await _hand_back(uow, job, task, "The worker is shutting down.")


async def _hand_back(uow: UnitOfWork, job: JobRow, task: TaskRow, why: str) -> None:
    task.preemptions += 1
    error = error_of(task, FailureCode.WORKER_LOST, why, Stage.QUEUE, retriable=True)
    await close_attempt(uow, task, Outcome.PREEMPTED)
    await try_again(uow, job, task, error, delay_s=0)


async def _cancel_attempt(uow: UnitOfWork, job: JobRow, task: TaskRow) -> None:
    await close_attempt(uow, task, Outcome.CANCELED)
    move_task(task, TaskState.CANCELED, await uow.now())
    await settle(uow, job)


async def _hold(uow: UnitOfWork, claim: Claim) -> tuple[JobRow, TaskRow]:
    """Locks job and task, and checks the fencing token."""
    job = await find_job_locked(uow.session, claim.job_id)
    task = await uow.session.get(TaskRow, claim.task_id, populate_existing=True)
    if job is None or task is None or not _holds(claim, task):
        raise LeaseLost(f"attempt {claim.attempt} of {claim.task_id} is over")
    return job, task


def _holds(claim: Claim, task: TaskRow) -> bool:
    return task.state is TaskState.RUNNING and task.attempt == claim.attempt and task.lease_owner == claim.worker_id
