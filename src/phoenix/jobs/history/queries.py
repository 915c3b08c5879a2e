"""Reads the statistics: what happened over time, and what each owner has used."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import Text, and_, cast, func, or_, select
from sqlmodel import col

from phoenix.contract.history import (
    Stats,
    StatsBy,
    StatsFigures,
    StatsStep,
    Usage,
    UsageDay,
    UsageTotal,
)
from phoenix.db import Database, table_of
from phoenix.jobs.history.figures import (
    ALL_TIME_S,
    DAY_S,
    EVERYTHING,
    HOUR_S,
    MINUTE_S,
    Figures,
    StatsKey,
    start_of,
    with_subject,
)
from phoenix.jobs.history.measurements import NONE
from phoenix.jobs.history.sketch import Sketch
from phoenix.jobs.history.tables import StatsRow, UsageDayRow
from phoenix.jobs.repository import IS_UNFINISHED
from phoenix.jobs.tables import JobRow

SECONDS_OF_STEP: Mapping[StatsStep, int] = {"minute": MINUTE_S, "hour": HOUR_S, "day": DAY_S}
_LONGER_S = {MINUTE_S: HOUR_S, HOUR_S: DAY_S}
_STATS, _USAGE = table_of(StatsRow), table_of(UsageDayRow)
# As text: thousands of parsed documents at a time would keep the garbage collector busy.
_COLUMNS = (
    *(column for column in _STATS.columns if column.name != "data"),
    cast(_STATS.c.data, Text).label("document"),
)
_USED = ("jobs", "clips", "attempts", "device_s", "worker_s", "output_bytes", "video_s")


@dataclass(frozen=True)
class StatsWindow:
    """From when to when, in which steps."""

    start: datetime
    end: datetime
    step: StatsStep

    @property
    def first(self) -> datetime:
        """The start of the first period, which `start` is in."""
        return start_of(self.start, SECONDS_OF_STEP[self.step])


async def read_stats(database: Database, window: StatsWindow, by: StatsBy | None) -> Stats:
    """The figures of a window, over time and in total, of everything or by queue or model."""
    return Stats.model_validate(await _read_fields(database, window, by))


async def write_stats(database: Database, window: StatsWindow, by: StatsBy | None) -> bytes:
    """`read_stats` as JSON, without models: to make and check the 8,000 of a month of hours takes half of the time."""
    return await asyncio.to_thread(to_json, await _read_fields(database, window, by))


async def _read_fields(database: Database, window: StatsWindow, by: StatsBy | None) -> dict[str, Any]:
    """The fields of `Stats`."""
    ended, unfinished = await _read_ended(database, window, by), await _read_unfinished(database, window)
    # A month of hours takes a tenth of a second, in which the event loop serves others.
    if by is None:
        series = await asyncio.to_thread(_view_everything, ended, unfinished, SECONDS_OF_STEP[window.step])
    else:
        series = await asyncio.to_thread(_add_up, chain(ended, unfinished), by)
    return {"start": window.start, "end": window.end, "step": window.step, "by": by, "series": series}


def _view_everything(
    ended: Iterable[tuple[StatsKey, Figures]], unfinished: Iterable[tuple[StatsKey, Figures]], step_s: int
) -> list[dict[str, Any]]:
    """The one series of everything. Whole longer periods stand for their parts in the total."""
    points: dict[datetime, Figures] = {}
    whole: dict[datetime, Figures] = {}
    for key, figures in ended:
        (points if key.resolution_s == step_s else whole)[key.starts_at] = figures
    rest = [figures for at, figures in points.items() if start_of(at, _LONGER_S.get(step_s, step_s)) not in whole]
    total = _sum([*whole.values(), *rest])
    for key, figures in unfinished:
        named = with_subject(key.subject, figures)
        points.setdefault(key.starts_at, Figures()).merge(named)
        total.merge(named)
    return [_view_series(None, total, points)]


def _add_up(parts: Iterable[tuple[StatsKey, Figures]], by: StatsBy) -> list[dict[str, Any]]:
    points: dict[str, dict[datetime, Figures]] = defaultdict(dict)
    for key, figures in parts:
        is_counted, group = _group_of(key, by)
        if is_counted:
            points[group].setdefault(key.starts_at, Figures()).merge(with_subject(key.subject, figures))
    return [_view_series(group, _sum(points[group].values()), points[group]) for group in sorted(points)]


def _sum(parts: Iterable[Figures]) -> Figures:
    total = Figures()
    for figures in parts:
        total.merge(figures)
    return total


async def read_totals(database: Database) -> Sequence[tuple[StatsKey, Figures]]:
    """The figures of all time, by queue, model and shape, and by kind of job and model."""
    statement = select(*_COLUMNS).where(_STATS.c.resolution_s == ALL_TIME_S, _STATS.c.subject.in_(("task", "job")))
    return [_read_row(row) for row in await database.fetch(statement)]


async def read_usage(database: Database, start: datetime, end: datetime, *, owner_id: str | None) -> Usage:
    """What was used, by owner and day. None stands for all owners."""
    conditions = [_USAGE.c.starts_at >= start_of(start, DAY_S), _USAGE.c.starts_at < end]
    if owner_id is not None:
        conditions.append(_USAGE.c.owner_id == owner_id)
    by_day = select(*_USAGE.columns).where(*conditions).order_by(_USAGE.c.starts_at, _USAGE.c.owner_id)
    days = [
        UsageDay(day=f"{row.starts_at:%Y-%m-%d}", owner_id=row.owner_id, **{name: getattr(row, name) for name in _USED})
        for row in await database.fetch(by_day)
    ]
    by_owner: dict[str, list[UsageDay]] = defaultdict(list)
    for day in days:
        by_owner[day.owner_id].append(day)
    totals = [
        UsageTotal(owner_id=owner, **{name: sum(getattr(day, name) for day in of_owner) for name in _USED})
        for owner, of_owner in by_owner.items()
    ]
    totals.sort(key=lambda total: (-total.device_s, -total.jobs, total.owner_id))
    return Usage(start=start, end=end, totals=totals, days=days)


async def _read_ended(
    database: Database, window: StatsWindow, by: StatsBy | None
) -> Iterator[tuple[StatsKey, Figures]]:
    resolution_s, starts_at = _STATS.c.resolution_s, _STATS.c.starts_at
    step_s = SECONDS_OF_STEP[window.step]
    periods = and_(resolution_s == step_s, starts_at < window.end)
    if by is None and (longer_s := _LONGER_S.get(step_s)):
        is_whole = starts_at <= window.end - timedelta(seconds=longer_s)
        periods = or_(periods, and_(resolution_s == longer_s, is_whole))
    statement = select(*_COLUMNS).where(
        periods,
        starts_at >= window.first,
        _STATS.c.subject == EVERYTHING if by is None else _STATS.c.subject != EVERYTHING,
    )
    return map(_read_row, await database.fetch(statement))


async def _read_unfinished(database: Database, window: StatsWindow) -> Sequence[tuple[StatsKey, Figures]]:
    """The submissions that have not ended yet: the statistics count a submission when its job ends first."""
    created_at = col(JobRow.created_at)
    columns = (col(JobRow.kind), col(JobRow.model), created_at)
    statement = (
        select(*columns, func.count().label("submitted"))
        .where(IS_UNFINISHED, col(JobRow.ends) == 0, created_at >= window.first, created_at < window.end)
        .group_by(*columns)
    )
    resolution_s = SECONDS_OF_STEP[window.step]
    return [
        (
            StatsKey(resolution_s, start_of(row.created_at, resolution_s), "job", row.kind, row.model or NONE),
            Figures({"submitted": row.submitted}),
        )
        for row in await database.fetch(statement)
    ]


def _read_row(row: Any) -> tuple[StatsKey, Figures]:
    key = StatsKey(row.resolution_s, row.starts_at, row.subject, row.name, row.model, row.shape)
    return key, Figures.from_document(from_json(row.document))


def _group_of(key: StatsKey, by: StatsBy) -> tuple[bool, str]:
    """Whether the figures count, and in which group."""
    if by == "queue":
        return key.subject != "job", key.name
    return key.subject != "queue" and key.model != NONE, key.model


_NOTHING: Mapping[str, Any] = StatsFigures().model_dump()


def _view_series(group: str | None, total: Figures, points: Mapping[datetime, Figures]) -> dict[str, Any]:
    """The fields of `StatsSeries`."""
    return {
        "group": group,
        "total": {**_NOTHING, **_show(total)},
        "points": [{"at": at, **_NOTHING, **_show(points[at])} for at in sorted(points)],
    }


def _show(figures: Figures) -> dict[str, Any]:
    """The fields of `StatsFigures`."""
    counts = figures.counts
    sampled_s, slots_s = counts.get("queue:sampled_s", 0), counts.get("queue:slots_s", 0)
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for name in sorted(counts):
        group, _, what = name.rpartition(":")
        numbers[group][what] = int(counts[name])
    shown: dict[str, Any] = {
        "submitted": int(counts.get("job:submitted", 0)),
        "jobs": numbers["job:outcome"],
        "job_codes": numbers["job:code"],
        "attempts": numbers["task:outcome"],
        "attempt_codes": numbers["task:code"],
        "device_s": round(counts.get("task:device_s", 0.0), 3),
        "worker_s": round(counts.get("task:worker_s", 0.0), 3),
        "stages": _percentiles_by_stage(figures.sketches.items()),
        "utilisation": round(counts.get("queue:running_s", 0) / slots_s, 4) if slots_s else None,
        "memory_share_max": counts.get("max_memory_share"),
    }
    if sampled_s:
        means = {name: counts[f"queue:{name}_s"] / sampled_s for name in ("waiting", "running", "slots")}
        shown |= {f"{name}_mean": round(mean, 3) for name, mean in means.items()}
        shown["waiting_max"] = int(counts.get("max_waiting", 0))
    names = {"job_s": "job:took", "wait_s": "task:waited", "took_s": "task:took", "memory_bytes": "task:memory"}
    return shown | {field: _percentiles(figures.sketches.get(name)) for field, name in names.items()}


def _percentiles_by_stage(sketches: Iterable[tuple[str, Sketch]]) -> dict[str, Mapping[str, float] | None]:
    prefix = "task:stage:"
    return {name[len(prefix) :]: _percentiles(each) for name, each in sketches if name.startswith(prefix)}


def _percentiles(sketch: Sketch | None) -> Mapping[str, float] | None:
    """The fields of `Percentiles`; None without values."""
    if sketch is None or not sketch.count:
        return None
    p50, p95, p99 = sketch.percentiles()
    return {"count": sketch.count, "mean": round(sketch.total / sketch.count, 4), "p50": p50, "p95": p95, "p99": p99}
