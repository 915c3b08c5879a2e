"""The state of the fleet in numbers, for operators. The numbers come from SQL, so every replica reports the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import get_args

from sqlalchemy import ColumnElement, Text, delete, func, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract import JobState, QueueDepth
from phoenix.contract.fleet import WorkerState
from phoenix.db import UnitOfWork, db_now
from phoenix.errors import FailureCode
from phoenix.jobs.history.figures import ALL_TIME_S, EPOCH, StatsKey
from phoenix.jobs.history.tables import StatsRow
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.repository import IS_UNFINISHED
from phoenix.jobs.scheduling.pauses import read_pauses
from phoenix.jobs.scheduling.workers import QUEUES, list_live, view_queue, view_workers, workers_of_queue
from phoenix.jobs.tables import AttemptRow, JobCounterRow, JobRow, TaskRow, WorkerRow
from phoenix.jobs.webhooks.tables import DeliveryState, WebhookDeliveryRow

NO_CODE = "none"
"""The code of jobs that ended without an error."""

NO_MODEL = "none"
"""The model of tasks that need none: soundtracks and assemblies."""

JobCounterKey = tuple[str, str]
"""A terminal state, and the code of the job's error."""

_ENDED = frozenset(str(state) for state in JobState if state.is_terminal)
_CODES_OF_OTHER_STATES = {FailureCode.TIMEOUT, FailureCode.CANCELED}

KNOWN_COUNTERS: tuple[JobCounterKey, ...] = (
    (JobState.SUCCEEDED, NO_CODE),
    (JobState.CANCELED, NO_CODE),
    (JobState.EXPIRED, FailureCode.TIMEOUT),
    *((JobState.FAILED, code) for code in FailureCode if code not in _CODES_OF_OTHER_STATES),
)

# The database adds: many processes may end jobs at the same time.
_ADD = text(
    "INSERT INTO job_counters (state, code, jobs) VALUES (:state, :code, 1) "
    "ON CONFLICT (state, code) DO UPDATE SET jobs = job_counters.jobs + 1"
)


def count_job_end(uow: UnitOfWork, job: JobRow) -> None:
    """Counts the end of a job at the commit. A job that is retried counts each time it ends."""
    code = str(job.error["code"]) if job.error else NO_CODE
    uow.before_commit(_JobEnd(str(job.state), code))


@dataclass(frozen=True)
class _JobEnd:
    state: str
    code: str

    async def run(self, uow: UnitOfWork) -> None:
        await uow.session.execute(_ADD, {"state": self.state, "code": self.code})


async def read_job_counters(session: AsyncSession) -> Mapping[JobCounterKey, int]:
    """How many jobs have ended, by state and error code; 0 for a known pair that has not occurred.

    The counters start with the database, and only grow.
    """
    rows = await session.execute(select(col(JobCounterRow.state), col(JobCounterRow.code), col(JobCounterRow.jobs)))
    known = {(str(state), str(code)): 0 for state, code in KNOWN_COUNTERS}
    return known | {(state, code): jobs for state, code, jobs in rows}


RECENT_S = 3600
_MAX_CLIPS = 500


@dataclass(frozen=True)
class WorkerDeviceMemory:
    """The memory of a worker's device. `used_bytes` includes other processes on the device."""

    worker_id: str
    host: str
    device: str
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class WorkerHostMemory:
    """The memory of the machine that a worker's models use, and what they may use."""

    worker_id: str
    host: str
    used_bytes: int
    budget_bytes: int


@dataclass(frozen=True)
class WorkerProcess:
    """The process of a worker: its memory, and what its engines have done since its start."""

    worker_id: str
    host: str
    resident_bytes: int
    model_loads: int
    model_evictions: int
    memory_fallbacks: int


@dataclass(frozen=True)
class FleetGauges:
    """The numbers of the fleet at one time."""

    jobs: Mapping[str, int]
    """Jobs by state, 0 for a state without any; states of newer versions included."""
    ended: Mapping[JobCounterKey, int]
    """How many jobs have ended, by state and error code. Deleted jobs are included."""
    queues: tuple[QueueDepth, ...]
    unserved: Mapping[tuple[str, str], int]
    """Waiting tasks that no live worker can run, by queue and model; `NO_MODEL` for tasks that need none.

    Each queue has an entry for `NO_MODEL`.
    """
    workers: Mapping[str, int]
    """Live workers by queue. A worker that serves two queues counts twice, also in the next."""
    worker_states: Mapping[tuple[str, str], int]
    """Workers by queue and state, 0 for a state without any."""
    memory: tuple[WorkerDeviceMemory, ...]
    """Device memory of the live workers whose device has its own memory and has been used."""
    host_memory: tuple[WorkerHostMemory, ...]
    processes: tuple[WorkerProcess, ...]
    pauses: tuple[tuple[str, str], ...]
    """Kind and name of what is paused."""
    webhooks_pending: int
    stage_s: Mapping[str, float]
    """Mean seconds per stage of the finished clips that started within the last hour."""


async def read_gauges(session: AsyncSession) -> FleetGauges:
    """The numbers of the fleet as the session sees them."""
    depths = (await view_queue(session)).queues
    live = await list_live(session)
    return FleetGauges(
        jobs=await _count_jobs(session),
        ended=await read_job_counters(session),
        queues=tuple(depths),
        unserved=await _count_unserved(session, live),
        workers={depth.name: sum(depth.name in worker.slots for worker in live) for depth in depths},
        worker_states=await _count_worker_states(session),
        memory=tuple(_list_memory(live)),
        host_memory=tuple(_list_host_memory(live)),
        processes=tuple(
            WorkerProcess(
                *(row.id, row.host, row.resident_bytes or 0),
                *(row.model_loads, row.model_evictions, row.memory_fallbacks),
            )
            for row in live
        ),
        pauses=tuple((kind.value, name) for kind, name in (await read_pauses(session)).rows),
        webhooks_pending=await _count_pending(session),
        stage_s=await _read_stages(session),
    )


COUNTED_FROM = 10_000
"""With as many jobs, a scrape does not count those that have ended: the statistics service counts them for all."""

_COUNT_KEY = StatsKey(ALL_TIME_S, EPOCH, "stored", "jobs")
_COUNT_EXPIRES_S = 300.0
_STATE = type_coerce(col(JobRow.state), Text)


async def record_job_counts(uow: UnitOfWork) -> None:
    """Counts the stored jobs by state, for the scrapes of the next minutes. With few jobs, each scrape counts them."""
    counts = dict((await uow.session.execute(select(_STATE, func.count()).group_by(_STATE))).all())
    await uow.session.execute(delete(StatsRow).where(*_is_job_count()).execution_options(synchronize_session=False))
    if sum(counts.values()) >= COUNTED_FROM:
        data = {"counts": counts, "at": (await uow.now()).isoformat()}
        uow.session.add(StatsRow(**vars(_COUNT_KEY), data=data))


def _is_job_count() -> list[ColumnElement[bool]]:
    return [col(getattr(StatsRow, name)) == value for name, value in vars(_COUNT_KEY).items()]


async def _count_jobs(session: AsyncSession) -> Mapping[str, int]:
    none = dict.fromkeys(map(str, JobState), 0)
    counted = (await session.execute(select(col(StatsRow.data), db_now(0)).where(*_is_job_count()))).first()
    by_state = select(_STATE, func.count()).group_by(_STATE)
    if counted is None or (counted[1] - datetime.fromisoformat(counted[0]["at"])).total_seconds() > _COUNT_EXPIRES_S:
        return none | dict((await session.execute(by_state)).all())
    open_jobs = dict((await session.execute(by_state.where(IS_UNFINISHED))).all())
    ended = {state: n for state, n in counted[0]["counts"].items() if state in _ENDED}
    return none | ended | open_jobs


async def _count_unserved(session: AsyncSession, live: Sequence[WorkerRow]) -> Mapping[tuple[str, str], int]:
    # As text: only a newer version may know the kind.
    columns = (col(TaskRow.queue), type_coerce(col(TaskRow.kind), Text), col(JobRow.model))
    statement = (
        select(*columns, func.count())
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.state) == TaskState.READY, col(TaskRow.queue).in_(QUEUES))
        .group_by(*columns)
    )
    workers = {queue: workers_of_queue(live, queue) for queue in QUEUES}
    unserved = {(str(queue), NO_MODEL): 0 for queue in QUEUES}
    for queue, kind, job_model, count in await session.execute(statement):
        model = job_model if kind == TaskKind.RENDER else None
        if not workers[queue].serve(model):
            key = (queue, model or NO_MODEL)
            unserved[key] = unserved.get(key, 0) + count
    return unserved


async def _count_worker_states(session: AsyncSession) -> Mapping[tuple[str, str], int]:
    counts = {(str(queue), state): 0 for queue in QUEUES for state in get_args(WorkerState)}
    for worker in await view_workers(session):
        for queue in worker.queues:
            counts[queue, worker.state] += 1
    return counts


def _list_memory(live: Sequence[WorkerRow]) -> Iterator[WorkerDeviceMemory]:
    for row in live:
        if row.memory_used_bytes is not None and row.memory_total_bytes is not None:
            yield WorkerDeviceMemory(row.id, row.host, row.device, row.memory_used_bytes, row.memory_total_bytes)


def _list_host_memory(live: Sequence[WorkerRow]) -> Iterator[WorkerHostMemory]:
    for row in live:
        if row.host_memory_used_bytes is not None and row.host_memory_budget_bytes is not None:
            yield WorkerHostMemory(row.id, row.host, row.host_memory_used_bytes, row.host_memory_budget_bytes)


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
