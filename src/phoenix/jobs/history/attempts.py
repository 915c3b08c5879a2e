"""Reads the attempts of a job, and its log: the durable events, and the lines that workers logged during attempts."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.history import JobLog, JobLogLine, LogSource, TaskAttempt
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import get_job
from phoenix.jobs.tables import AttemptRow, Document, EventRow, TaskRow

MAX_ATTEMPTS = 5000
"""A job of 500 clips with a segment each has 1,000 attempts. Of more attempts than this, the newest are read."""

_OF_THE_EVENT = frozenset({"type", "job_id", "seq", "at", "clip_index", "attempt"})
_LEVELS = {"clip.retrying": "warning", "clip.failed": "error", "job.failed": "error", "job.expired": "error"}
_WITH_CLIP = (TaskKind.RENDER, TaskKind.SEGMENT)


async def read_attempts(session: AsyncSession, job_id: str, *, owner_id: str, shows_workers: bool) -> list[TaskAttempt]:
    """The attempts at the tasks of this owner's job, the oldest first. Raises `NotFound`."""
    await get_job(session, job_id, owner_id=owner_id)
    rows = await _read_rows(session, job_id, limit=MAX_ATTEMPTS)
    return [_view(attempt, kind, position, shows_workers=shows_workers) for attempt, kind, position in rows]


async def read_log(session: AsyncSession, job_id: str, *, owner_id: str, limit: int, shows_workers: bool) -> JobLog:
    """The newest `limit` lines of the log of this owner's job. Raises `NotFound`.

    `shows_workers`: whether to include what workers logged, which may have paths of their machines.
    """
    job = await get_job(session, job_id, owner_id=owner_id)
    events = select(col(EventRow.data)).where(col(EventRow.job_id) == job.id).order_by(col(EventRow.seq).desc())
    found = (await session.scalars(events.limit(limit + 1))).all()
    lines = [_view_event(data) for data in reversed(found)]
    if shows_workers:
        # Each attempt has at most a hundred lines and usually two or more.
        for attempt, kind, position in await _read_rows(session, job_id, limit=limit + 1):
            lines += _view_lines(attempt, kind, position)
    lines.sort(key=lambda line: line.at)
    return JobLog(data=lines[-limit:], has_more=len(lines) > limit)


async def _read_rows(session: AsyncSession, job_id: str, *, limit: int) -> Sequence[Row[AttemptRow, TaskKind, int]]:
    statement = (
        select(AttemptRow, col(TaskRow.kind), col(TaskRow.position))
        .join(TaskRow, col(TaskRow.id) == col(AttemptRow.task_id))
        .where(col(TaskRow.job_id) == job_id)
        .order_by(col(AttemptRow.started_at).desc(), col(TaskRow.position).desc(), col(AttemptRow.number).desc())
        .limit(limit)
    )
    return (await session.execute(statement)).all()[::-1]


def _view(attempt: AttemptRow, kind: TaskKind, position: int, *, shows_workers: bool) -> TaskAttempt:
    return TaskAttempt.model_validate(
        {
            "task": kind.value,
            "index": position if kind in _WITH_CLIP else None,
            "number": attempt.number,
            "state": attempt.outcome.value if attempt.outcome else "running",
            "worker_id": attempt.worker_id if shows_workers else None,
            "waited_s": attempt.waited_s,
            "started_at": attempt.started_at,
            "ended_at": attempt.ended_at,
            "stages": attempt.stages,
            "peak_memory_bytes": attempt.peak_memory_bytes,
            "error": attempt.error,
        }
    )


def _view_event(data: Document) -> JobLogLine:
    return JobLogLine(
        at=datetime.fromisoformat(data["at"]),
        level=_LEVELS.get(data["type"], "info"),
        source=LogSource.EVENT,
        message=data["type"],
        index=data.get("clip_index"),
        attempt=data.get("attempt"),
        fields={name: value for name, value in data.items() if name not in _OF_THE_EVENT},
    )


def _view_lines(attempt: AttemptRow, kind: TaskKind, position: int) -> Iterator[JobLogLine]:
    for line in attempt.log:
        values: dict[str, Any] = {
            **line,
            "source": LogSource.WORKER,
            "task": kind.value,
            "index": position if kind in _WITH_CLIP else None,
            "attempt": attempt.number,
            "fields": {**line.get("fields", {}), "worker_id": attempt.worker_id},
        }
        yield JobLogLine.model_validate(values)
