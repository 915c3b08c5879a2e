"""The ways in which a worker ends its attempt. All are fenced: they raise `LeaseLost` once its lease is lost."""

from functools import partial

from phoenix.contract.events import ClipSucceeded
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs import journal, views
from phoenix.jobs.announcements import FilesOrphaned, TasksReady
from phoenix.jobs.attempts import RetryRule, close_attempt, error_of, give_up, try_again
from phoenix.jobs.claim import Claim
from phoenix.jobs.errors import LeaseLost
from phoenix.jobs.lifecycle import Outcome, TaskKind, TaskState, retry_delay_s
from phoenix.jobs.progress import job_progress
from phoenix.jobs.results import Result, completes, learn_pace, publish
from phoenix.jobs.rows import find_job_locked, list_tasks
from phoenix.jobs.settle import move_task, settle
from phoenix.jobs.tables import JobRow, TaskRow


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
        await journal.record(uow, job, event)
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
