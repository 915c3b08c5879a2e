"""What a job waits for while nothing of it advances. Pure.

If a worker has claimed a part of the job, the reported stages decide it, and else the queue of the next unclaimed task.
"""

from datetime import UTC, datetime

from phoenix.contract import JobState, PauseKind, WaitingCode, WaitingReason
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.lifecycle import TaskKind, TaskState, find_continued, is_waiting
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.queue_snapshots import QueueSnapshot
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.storage.reserve import Shortage


def find_next_unclaimed(job: FullJob) -> TaskRow | None:
    """The task that will probably start next: of the ready tasks, the first that may be dispatched.

    None if a task of the job runs, and for a job that is held or has ended.
    """
    tasks = [task for task in job.tasks if task.kind.decides_job]
    is_queued = job.row.state in (JobState.QUEUED, JobState.RUNNING)
    if not is_queued or any(task.state is TaskState.RUNNING for task in tasks):
        return None
    ready = [task for task in tasks if task.state is TaskState.READY]
    blocked = (task for task in tasks if task.state is TaskState.BLOCKED)
    return min(ready, key=lambda task: (task.eligible_at, task.position), default=next(blocked, None))


def explain_hold(job: JobRow) -> WaitingReason | None:
    """What a held job waits for; None for another job."""
    if job.state is not JobState.HELD:
        return None
    if job.queue_deadline_at is None:
        detail = f"Its draft, {job.draft_job_id}, is not done yet."
        return WaitingReason(code=WaitingCode.BLOCKED_BY_DRAFT, detail=detail)
    detail = (
        f"Its draft, {job.draft_job_id}, is done. POST /v1/jobs/{job.id}/approve renders the reel; without an approval "
        f"the job expires at {_in_utc(job.queue_deadline_at)}."
    )
    return WaitingReason(code=WaitingCode.AWAITING_APPROVAL, detail=detail)


def explain_claimed_wait(job: FullJob) -> WaitingReason | None:
    """What the claimed tasks of the job wait for on their workers. None if one of them advances, or if none is claimed.

    A model that is being loaded is named before a device without room: its clips will start without another decision.
    """
    claimed = [task for task in job.tasks if task.state is TaskState.RUNNING and task.kind.decides_job]
    if not claimed or not all(is_waiting(task.kind, task.stage) for task in claimed):
        return None
    if any(task.stage == Stage.LOAD for task in claimed):
        detail = f"Its worker loads the model {job.row.model}, and downloads it first if it has no copy."
        return WaitingReason(code=WaitingCode.LOADING_MODEL, detail=detail)
    detail = "Its worker has it, but the device has no free slot or not enough free memory: other clips are using it."
    return WaitingReason(code=WaitingCode.NO_ROOM_ON_DEVICE, detail=detail)


def explain_wait(
    job: JobRow,
    task: TaskRow,
    snapshot: QueueSnapshot,
    *,
    jobs_ahead: int,
    clips_per_key: int,
    shortage: Shortage | None = None,
) -> WaitingReason:
    """Why `task`, the next unclaimed task of the job, does not run yet. What would last longest comes first.

    `snapshot`: the queue of the task. `clips_per_key`: how many clips of one key may run at a time; 0 means no limit.
    `shortage`: the disk below its reserve, if there is one.
    """
    if task.state is TaskState.BLOCKED:
        return _blocked(task)
    return (
        _paused(job, task, snapshot)
        or _missing_worker(job, task, snapshot)
        or _storage_full(task, shortage, snapshot.read_at)
        or _back_off(task, snapshot.read_at)
        or _owner_limit(job, task, snapshot, clips_per_key)
        or _turn(jobs_ahead, snapshot)
    )


def _blocked(task: TaskRow) -> WaitingReason:
    if task.kind is TaskKind.RENDER and (before := find_continued(task)) is not None:
        detail = f"Clip {task.position} waits for clip {before}, which it continues."
    elif task.kind is TaskKind.RENDER:
        detail = f"Clip {task.position} waits for its narration, which its lips say."
    else:
        detail = "Its clips or its soundtrack are not done yet."
    return WaitingReason(code=WaitingCode.BLOCKED_BY_CLIPS, detail=detail)


def _paused(job: JobRow, task: TaskRow, snapshot: QueueSnapshot) -> WaitingReason | None:
    found = snapshot.pauses.find(job, task)
    if found is None:
        return None
    subject = "Your key" if found.kind is PauseKind.KEY else f"The {found.kind.value} {found.name}"
    # The reason is the operator's own words.
    detail = f"{subject} is paused{f': {found.reason}' if found.reason else ', until the operator resumes it'}."
    return WaitingReason(code=WaitingCode.PAUSED, detail=detail)


def _missing_worker(job: JobRow, task: TaskRow, snapshot: QueueSnapshot) -> WaitingReason | None:
    workers, command = snapshot.workers, f"`phoenix worker --queue {snapshot.name}`"
    model = job.model if task.kind is TaskKind.RENDER else None
    resume = "is drained. `phoenix workers resume` lets one claim again."
    if workers.slots == 0:
        detail = f"No live worker takes tasks of the queue {snapshot.name}. {command} starts one."
        if workers.has_drained:
            detail = f"Each worker of the queue {snapshot.name} {resume}"
        elif workers.is_starting:
            detail = f"A worker of the queue {snapshot.name} is starting."
        elif workers.is_unfit:
            detail = f"No worker of the queue {snapshot.name} is fit to work: `phoenix workers list` has the reason."
        return WaitingReason(code=WaitingCode.NO_WORKER_FOR_QUEUE, detail=detail)
    if not workers.serve(model):
        needs = "the key of its service" if snapshot.name == "remote" else "its weights"
        detail = f"No live worker serves the model {model}. {command} serves it on a machine that has {needs}."
        if model in workers.drained_models:
            detail = f"Each worker that serves the model {model} {resume}"
        return WaitingReason(code=WaitingCode.NO_WORKER_FOR_MODEL, detail=detail)
    return None


def _storage_full(task: TaskRow, shortage: Shortage | None, now: datetime) -> WaitingReason | None:
    if shortage is not None:
        detail = f"{shortage.explain()} It starts when there is space again."
        return WaitingReason(code=WaitingCode.STORAGE_FULL, detail=detail)
    # Claiming the task removes its error.
    if task.error is None or task.error["code"] != FailureCode.STORAGE_FULL or task.eligible_at <= now:
        return None
    detail = (
        f"Its last attempt found no space: {task.error['message']}. The next attempt is at {_in_utc(task.eligible_at)}."
    )
    return WaitingReason(code=WaitingCode.STORAGE_FULL, detail=detail)


def _back_off(task: TaskRow, now: datetime) -> WaitingReason | None:
    # Without a failure, the task is snoozed: the other workers may claim it at any time.
    if task.failures == 0 or task.eligible_at <= now:
        return None
    detail = f"Its last attempt failed. The next attempt is at {_in_utc(task.eligible_at)}."
    return WaitingReason(code=WaitingCode.RETRY_AT, detail=detail)


def _in_utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _owner_limit(job: JobRow, task: TaskRow, snapshot: QueueSnapshot, clips_per_key: int) -> WaitingReason | None:
    # A limit holds back only tasks that are not dispatched yet.
    if task.kind is not TaskKind.RENDER or task.dispatched_at is not None:
        return None
    most = snapshot.shares.limits.get(job.owner_id, clips_per_key)
    of_model = snapshot.shares.model_limits.get(job.owner_id)
    count, model_count = snapshot.in_flight.get(job.owner_id, 0), snapshot.of_models.get((job.owner_id, job.model), 0)
    if most and count >= most:
        detail = f"This key has {_clips(count)} under way, which is as many as it may."
    elif of_model is not None and model_count >= of_model:
        detail = f"This key has {_clips(model_count)} of {job.model} under way, which is as many as it may."
    else:
        return None
    return WaitingReason(code=WaitingCode.AT_YOUR_LIMIT, detail=detail)


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"


def _turn(jobs_ahead: int, snapshot: QueueSnapshot) -> WaitingReason:
    if jobs_ahead:
        detail = f"{jobs_ahead} job{'s' if jobs_ahead > 1 else ''} will start before this one."
    else:
        detail = "A worker is about to start it." if snapshot.free_slots else "It is next: every slot is busy."
    return WaitingReason(code=WaitingCode.AHEAD, detail=detail)
