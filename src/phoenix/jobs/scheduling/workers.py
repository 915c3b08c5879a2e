"""The register of workers, and the depth of each queue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import JSON, Text, case, cast, delete, func, literal, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract import JobState, QueueDepth, QueueName, QueueView, Worker
from phoenix.contract.fleet import WorkerState
from phoenix.db import Database, RecentRead, UnitOfWork, UtcDateTime, db_now, detached, table_of
from phoenix.jobs.lifecycle import FINISHING_STAGES, TaskKind, TaskState
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.tables import JobRow, TaskRow, WorkerRow

RENDER_QUEUES: tuple[QueueName, ...] = ("gpu", "remote")
"""Queues of clips."""

QUEUES: tuple[QueueName, ...] = (*RENDER_QUEUES, "media")


class WorkerPhase(StrEnum):
    """How far a worker process has come. Only a ready one has slots."""

    STARTING = "starting"
    """It tests ffmpeg and its device, and warms models up."""
    READY = "ready"
    UNFIT = "unfit"
    """It has ended, because it cannot work. Its supervisor starts another one."""


@dataclass(frozen=True)
class WorkerReport:
    """What a worker reports about itself at each heartbeat."""

    worker_id: str
    host: str
    pid: int
    device: str
    slots: Mapping[str, int]
    """How many tasks of each queue the worker runs at a time; 0 while it drains."""
    serves: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    host_memory_used_bytes: int | None = None
    """What its models use of the machine's memory."""
    host_memory_budget_bytes: int | None = None
    resident_bytes: int | None = None
    """Memory of the worker's process."""
    model_loads: int = 0
    """Since the start of the process, like the next two."""
    model_evictions: int = 0
    memory_fallbacks: int = 0
    phase: WorkerPhase = WorkerPhase.READY
    fault: str | None = None
    """Why the worker can do nothing: what ended it, or a full disk."""


@dataclass(frozen=True)
class WorkerOrders:
    """What administrators want of a worker: it claims nothing while it drains, and drops the models in `unload`."""

    is_draining: bool = False
    unload: tuple[str, ...] = ()


async def record_heartbeat(uow: UnitOfWork, report: WorkerReport, *, lease_s: float) -> WorkerOrders:
    """Registers a worker, or refreshes it. The worker counts as live for `lease_s`, as long as its leases last.

    Returns what the worker has to do.
    """
    now = await uow.now()
    expires_at = now + timedelta(seconds=lease_s)
    # Locked: an order that arrives between the read and the write would be lost.
    row = await uow.session.get(WorkerRow, report.worker_id, with_for_update=True)
    if row is None:
        row = WorkerRow(
            id=report.worker_id,
            host=report.host,
            pid=report.pid,
            device=report.device,
            slots=dict(report.slots),
            started_at=now,
            seen_at=now,
            expires_at=expires_at,
        )
        uow.session.add(row)
        uow.publish_after_commit(TasksReady())
    row.phase, row.fault, row.device = report.phase, report.fault, report.device
    slots = dict(report.slots) if row.drained_at is None else dict.fromkeys(report.slots, 0)
    if (slots, list(report.serves)) != (row.slots, row.serves):
        uow.publish_after_commit(TasksReady())
    row.slots = slots
    row.unload = [model for model in row.unload if model in report.models]
    row.serves = list(report.serves)
    row.models = list(report.models)
    row.memory_used_bytes = report.memory_used_bytes
    row.memory_total_bytes = report.memory_total_bytes
    row.host_memory_used_bytes = report.host_memory_used_bytes
    row.host_memory_budget_bytes = report.host_memory_budget_bytes
    row.resident_bytes = report.resident_bytes
    row.model_loads, row.model_evictions = report.model_loads, report.model_evictions
    row.memory_fallbacks = report.memory_fallbacks
    row.seen_at, row.expires_at = now, expires_at
    return WorkerOrders(row.drained_at is not None, tuple(row.unload))


async def remove(uow: UnitOfWork, worker_id: str, *, keeps_unfit: bool = False) -> None:
    """Removes a worker that ends. Harmless if it is not registered.

    `keeps_unfit`: operators see a worker that reported itself unfit until its report expires.
    """
    ended = delete(WorkerRow).where(col(WorkerRow.id) == worker_id)
    await uow.session.execute(ended.where(col(WorkerRow.phase) != WorkerPhase.UNFIT) if keeps_unfit else ended)


async def remove_expired(uow: UnitOfWork, *, older_than_s: float) -> None:
    """Forgets workers that expired longer ago than `older_than_s`."""
    await uow.session.execute(delete(WorkerRow).where(col(WorkerRow.expires_at) < db_now(-older_than_s)))


_WORKERS = table_of(WorkerRow)
_REPORTED = select(*_WORKERS.columns).where(_WORKERS.c.expires_at > db_now()).order_by(_WORKERS.c.started_at)
_LIVE = _REPORTED.where(_WORKERS.c.phase == WorkerPhase.READY)


async def list_live(session: AsyncSession) -> Sequence[WorkerRow]:
    """The ready workers whose last heartbeat has not expired, in order of their start. Read only."""
    return [detached(WorkerRow, values) for values in await session.execute(_LIVE)]


async def list_reported(session: AsyncSession) -> Sequence[WorkerRow]:
    """Like `list_live`, with the workers that start, and those that ended a moment ago because they are unfit."""
    return [detached(WorkerRow, values) for values in await session.execute(_REPORTED)]


async def is_live(session: AsyncSession, worker_id: str) -> bool:
    """Whether the last heartbeat of the worker has not expired."""
    statement = select(col(WorkerRow.id)).where(col(WorkerRow.id) == worker_id, col(WorkerRow.expires_at) > db_now())
    return await session.scalar(statement) is not None


async def fetch_live(database: Database) -> Sequence[WorkerRow]:
    """Like `list_live`, outside a session."""
    return [detached(WorkerRow, values) for values in await database.fetch(_LIVE)]


@dataclass(frozen=True)
class QueueWorkers:
    """The live workers of one queue, without those that drain."""

    slots: int = 0
    """How many tasks of the queue they can run at once."""
    models: frozenset[str] = frozenset()
    """Ids of the models that at least one of them can load."""
    has_drained: bool = False
    """Whether an administrator drained a worker of the queue."""
    drained_models: frozenset[str] = frozenset()
    """Ids of the models that the drained workers can load."""
    is_starting: bool = False
    """Whether a worker of the queue starts."""
    is_unfit: bool = False
    """Whether a worker of the queue ended a moment ago, because it is unfit."""

    def serve(self, model: str | None) -> bool:
        """Whether one of them can run a task that needs the model; None for a task that needs no model."""
        return self.slots > 0 and (model is None or model in self.models)


def workers_of_queue(reported: Sequence[WorkerRow], queue: str) -> QueueWorkers:
    """The workers of `queue` among these. A worker that drains, starts or is unfit reports no slots."""
    rows = [row for row in reported if row.slots.get(queue, 0) > 0]
    models = frozenset(model for row in rows for model in row.serves)
    drained = [row for row in reported if queue in row.slots and row.drained_at is not None]
    phases = {row.phase for row in reported if queue in row.slots}
    return QueueWorkers(
        sum(row.slots[queue] for row in rows),
        models,
        has_drained=bool(drained),
        drained_models=frozenset(model for row in drained for model in row.serves),
        is_starting=WorkerPhase.STARTING in phases,
        is_unfit=WorkerPhase.UNFIT in phases,
    )


HOLDS_SLOT: ColumnElement[bool] = (col(TaskRow.state) == TaskState.RUNNING) & (
    (col(TaskRow.kind) != TaskKind.RENDER) | col(TaskRow.stage).is_(None) | col(TaskRow.stage).not_in(FINISHING_STAGES)
)
"""Whether a task occupies a slot. A clip that only encodes and stores its file has given its slot back."""


async def view_workers(session: AsyncSession, *, owner_id: str | None = None) -> list[Worker]:
    """The workers of `list_reported` with the jobs that they run. `owner_id` limits the jobs to one owner."""
    jobs: dict[str, dict[bool, list[str]]] = {}
    busy: set[str | None] = set()
    statement = (
        select(col(TaskRow.lease_owner), col(TaskRow.job_id), HOLDS_SLOT, col(JobRow.owner_id))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.state) == TaskState.RUNNING)
    )
    for worker_id, job_id, holds_slot, owner in await session.execute(statement):
        busy.add(worker_id)
        if owner_id in (None, owner):
            jobs.setdefault(worker_id or "", {}).setdefault(bool(holds_slot), []).append(job_id)
    return [
        Worker.model_validate(
            {
                **vars(row),
                "queues": list(row.slots),
                "slots": sum(row.slots.values()),
                "running": jobs.get(row.id, {}).get(True, []),
                "finishing": jobs.get(row.id, {}).get(False, []),
                "state": _state_of(row, is_busy=row.id in busy),
                "unloading": row.unload,
            }
        )
        for row in await list_reported(session)
    ]


def _state_of(row: WorkerRow, *, is_busy: bool) -> WorkerState:
    """A worker that ends drains too: it reports no slots."""
    if row.phase == WorkerPhase.STARTING:
        return "starting"
    if row.phase == WorkerPhase.UNFIT:
        return "unfit"
    if row.drained_at is not None or not any(row.slots.values()):
        return "draining" if is_busy else "drained"
    if is_busy:
        return "busy"
    return "idle" if row.fault is None else "unfit"


_IS_UNFINISHED = col(JobRow.state).in_([JobState.QUEUED, JobState.RUNNING])
_NO_INSTANT, _NO_SLOTS = cast(null(), UtcDateTime()), cast(null(), JSON())
# Of each queue and state, of each state of a job, and of each live worker: one statement, and no transaction for it.
_COUNTS = union_all(
    select(
        literal("task").label("subject"),
        cast(col(TaskRow.queue), Text()).label("name"),
        cast(col(TaskRow.state), Text()).label("state"),
        func.count().label("number"),
        func.coalesce(func.sum(case((HOLDS_SLOT, 1), else_=0)), 0).label("in_slots"),
        func.min(col(TaskRow.waiting_since)).label("oldest"),
        _NO_SLOTS.label("slots"),
        db_now(0).label("now"),
    )
    .where(col(TaskRow.state).in_([TaskState.READY, TaskState.RUNNING]))
    .group_by(col(TaskRow.queue), col(TaskRow.state)),
    select(
        *(literal("job"), literal(""), cast(col(JobRow.state), Text()), func.count(), literal(0)),
        *(_NO_INSTANT, _NO_SLOTS, db_now(0)),
    )
    .where(_IS_UNFINISHED)
    .group_by(col(JobRow.state)),
    select(
        *(literal("worker"), col(WorkerRow.id), literal(""), literal(0), literal(0)),
        *(_NO_INSTANT, col(WorkerRow.slots), db_now(0)),
    ).where(col(WorkerRow.expires_at) > db_now()),
)


async def view_queue(session: AsyncSession) -> QueueView:
    """The number of queued and running jobs, and the depth of each queue."""
    return _to_queue_view((await session.execute(_COUNTS)).all())


async def fetch_queue(database: Database) -> QueueView:
    """Like `view_queue`, outside a session."""
    return _to_queue_view(await database.fetch(_COUNTS))


def _to_queue_view(counts: Sequence[Any]) -> QueueView:
    jobs = {row.state: row.number for row in counts if row.subject == "job"}
    tasks = {(row.name, row.state): row for row in counts if row.subject == "task"}
    slots = [row.slots for row in counts if row.subject == "worker"]
    return QueueView(
        jobs_queued=jobs.get(JobState.QUEUED, 0),
        jobs_running=jobs.get(JobState.RUNNING, 0),
        queues=[
            _view_depth(
                name,
                tasks.get((name, TaskState.READY)),
                tasks.get((name, TaskState.RUNNING)),
                slots=sum(each.get(name, 0) for each in slots),
            )
            for name in QUEUES
        ],
    )


def _view_depth(name: QueueName, waiting: Any, running: Any, *, slots: int) -> QueueDepth:
    holding = running.in_slots if running else 0
    return QueueDepth(
        name=name,
        waiting=waiting.number if waiting else 0,
        running=holding,
        finishing=running.number - holding if running else 0,
        slots=slots,
        oldest_wait_s=max((waiting.now - waiting.oldest).total_seconds(), 0) if waiting else None,
    )


class FleetCache:
    """The live workers and the depths of the queues as this process read them last, up to two seconds ago.

    For the lists that many clients poll. One per process and event loop.
    """

    def __init__(self, database: Database) -> None:
        self._live = RecentRead(partial(fetch_live, database))
        self._depths = RecentRead(partial(fetch_queue, database))

    def record_commit(self) -> None:
        """Notes that this process has just changed jobs or workers."""
        self._live.record_commit()
        self._depths.record_commit()

    async def write_live(self, write: Callable[[Sequence[WorkerRow]], bytes]) -> bytes:
        """What `write` makes of the workers of `fetch_live`. Give the same function each time: it is called seldom."""
        return await self._live.get_made(write)

    async def write_depths(self, write: Callable[[QueueView], bytes]) -> bytes:
        """Like `write_live`, of `fetch_queue`."""
        return await self._depths.get_made(write)
