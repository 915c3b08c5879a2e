"""The state of the fleet in numbers, for operators. Read from SQL, so that every replica reports the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from sqlalchemy import Text, func, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.fleet import QueueDepth
from phoenix.contract.jobs import JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import FailureCode
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.scheduling.workers import list_live, view_queue
from phoenix.jobs.tables import AttemptRow, JobCounterRow, JobRow, TaskRow, WorkerRow
from phoenix.jobs.webhooks.tables import DeliveryState, WebhookDeliveryRow

NO_CODE = "none"
"""Of jobs that ended without an error."""

JobCounterKey = tuple[str, str]
"""A terminal state, and the code of the job's error."""

_OF_OTHER_STATES = {FailureCode.TIMEOUT, FailureCode.CANCELED}

KNOWN_COUNTERS: tuple[JobCounterKey, ...] = (
    (JobState.SUCCEEDED, NO_CODE),
    (JobState.CANCELED, NO_CODE),
    (JobState.EXPIRED, FailureCode.TIMEOUT),
    *((JobState.FAILED, code) for code in FailureCode if code not in _OF_OTHER_STATES),
)

# Added up in the database: many jobs may end at the same time, in many processes.
_ADD = text(
    "INSERT INTO job_counters (state, code, jobs) VALUES (:state, :code, 1) "
    "ON CONFLICT (state, code) DO UPDATE SET jobs = job_counters.jobs + 1"
)


def count_job_end(uow: UnitOfWork, job: JobRow) -> None:
    """Counts, at the commit, a job that is now in a terminal state; one that is tried again, each time it ends."""
    code = str(job.error["code"]) if job.error else NO_CODE
    uow.before_commit(partial(_add, uow, {"state": str(job.state), "code": code}))


async def _add(uow: UnitOfWork, values: Mapping[str, str]) -> None:
    await uow.session.execute(_ADD, values)


async def read_job_counters(session: AsyncSession) -> Mapping[JobCounterKey, int]:
    """The ends since the database was made; of a known kind that has not happened, 0. None of them ever shrinks."""
    rows = await session.execute(select(col(JobCounterRow.state), col(JobCounterRow.code), col(JobCounterRow.jobs)))
    known = {(str(state), str(code)): 0 for state, code in KNOWN_COUNTERS}
    return known | {(state, code): jobs for state, code, jobs in rows}


RECENT_S = 3600
_MAX_CLIPS = 500


@dataclass(frozen=True)
class WorkerDeviceMemory:
    """Of a worker's device, other processes on it included."""

    worker_id: str
    host: str
    device: str
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class FleetGauges:
    jobs: Mapping[str, int]
    """Jobs by state, 0 for a state without any; states of newer versions included."""
    ended: Mapping[JobCounterKey, int]
    """How many ever ended so, deleted ones included."""
    queues: tuple[QueueDepth, ...]
    workers: Mapping[str, int]
    """Live workers by queue; one that serves both counts twice."""
    memory: tuple[WorkerDeviceMemory, ...]
    """Of the live workers that have a device with memory of its own, and have used it."""
    webhooks_pending: int
    stage_s: Mapping[str, float]
    """Mean seconds per stage, over finished clips that were started within the last hour."""


async def read_gauges(session: AsyncSession) -> FleetGauges:
    depths = (await view_queue(session)).queues
    live = await list_live(session)
    return FleetGauges(
        jobs=await _count_jobs(session),
        ended=await read_job_counters(session),
        queues=tuple(depths),
        workers={depth.name: sum(depth.name in worker.slots for worker in live) for depth in depths},
        memory=tuple(_list_memory(live)),
        webhooks_pending=await _count_pending(session),
        stage_s=await _read_stages(session),
    )


async def _count_jobs(session: AsyncSession) -> Mapping[str, int]:
    state = type_coerce(col(JobRow.state), Text)
    counts = await session.execute(select(state, func.count()).group_by(state))
    return dict.fromkeys(map(str, JobState), 0) | dict(counts.all())


def _list_memory(live: Sequence[WorkerRow]) -> Iterator[WorkerDeviceMemory]:
    for row in live:
        if row.memory_used_bytes is not None and row.memory_total_bytes is not None:
            yield WorkerDeviceMemory(row.id, row.host, row.device, row.memory_used_bytes, row.memory_total_bytes)


async def _count_pending(session: AsyncSession) -> int:
    pending = col(WebhookDeliveryRow.state) == DeliveryState.PENDING
    return (await session.scalars(select(func.count()).select_from(WebhookDeliveryRow).where(pending))).one()


async def _read_stages(session: AsyncSession) -> Mapping[str, float]:
    statement = (
        select(col(TaskRow.timings))
        .join(
            AttemptRow,
            (col(AttemptRow.task_id) == col(TaskRow.id)) & (col(AttemptRow.number) == col(TaskRow.attempt)),
        )
        .where(
            col(AttemptRow.started_at) > db_now(-RECENT_S),
            col(TaskRow.kind) == TaskKind.RENDER,
            col(TaskRow.state) == TaskState.SUCCEEDED,
        )
        .order_by(col(AttemptRow.started_at).desc())
        .limit(_MAX_CLIPS)
    )
    seconds_by_stage: dict[str, list[float]] = {}
    for timings in await session.scalars(statement):
        for name, seconds in timings.items():
            if name.endswith("_s") and seconds is not None:
                seconds_by_stage.setdefault(name.removesuffix("_s"), []).append(seconds)
    return {name: fmean(seconds) for name, seconds in seconds_by_stage.items()}
