"""Adds what has ended to the statistics, in batches. One process at a time: the rows are read, changed and written."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import and_, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import UnitOfWork, acquire_lock, db_now, table_of
from phoenix.jobs.history.figures import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    Figures,
    QueueSample,
    StatsKey,
    add_up,
    spread,
    spread_sample,
    start_of,
)
from phoenix.jobs.history.measurements import Measurement
from phoenix.jobs.history.tables import MeasurementRow, StatsRow, UsageDayRow

BATCH = 500
MINUTES_KEPT_S = 2 * DAY_S
"""How long the figures of single minutes are kept. Hours and days are kept for as long as the settings say."""

_LOCK = "statistics"
_STATS, _USAGE = table_of(StatsRow), table_of(UsageDayRow)
_KEY = tuple(field.name for field in fields(StatsKey))


@dataclass
class UsageFigures:
    """What an owner has used on one day: the columns of a `UsageDayRow`."""

    jobs: int = 0
    clips: int = 0
    attempts: int = 0
    device_s: float = 0.0
    worker_s: float = 0.0
    output_bytes: int = 0
    video_s: float = 0.0

    def count(self, found: Measurement) -> None:
        """Adds an attempt or a job."""
        is_job = found.subject == "job"
        self.jobs += is_job
        self.video_s += found.video_s
        if not is_job:
            self.attempts += 1
            self.clips += found.is_clip and found.outcome == "succeeded"
            self.device_s += found.device_s
            self.worker_s += found.took_s or 0.0
            self.output_bytes += found.output_bytes


async def has_measurements(session: AsyncSession) -> bool:
    """Whether something has ended that the statistics have not counted yet."""
    return (await session.scalars(select(col(MeasurementRow.id)).limit(1))).first() is not None


async def roll_up(uow: UnitOfWork, samples: Sequence[QueueSample] = ()) -> int:
    """Counts a batch of what has ended, and samples of the queues. Returns how many attempts and jobs it counted."""
    await acquire_lock(uow.session, _LOCK)
    statement = select(MeasurementRow).order_by(col(MeasurementRow.id)).limit(BATCH)
    rows = (await uow.session.scalars(statement)).all()
    found = [(row, Measurement(**row.data)) for row in rows]
    now = await uow.now()
    parts = chain(
        chain.from_iterable(spread(each, row.at) for row, each in found),
        chain.from_iterable(spread_sample(sample, now) for sample in samples),
    )
    await _add_stats(uow.session, add_up(list(parts)))
    await _add_usage(uow.session, ((row.owner_id, row.at, each) for row, each in found))
    ids = [row.id for row in rows]
    counted = delete(MeasurementRow).where(col(MeasurementRow.id).in_(ids))
    await uow.session.execute(counted.execution_options(synchronize_session=False))
    return len(rows)


async def delete_old_stats(uow: UnitOfWork, *, kept_s: float) -> None:
    """Deletes the figures of old periods. The figures of all time stay."""
    resolution_s, starts_at = col(StatsRow.resolution_s), col(StatsRow.starts_at)
    ages = ((MINUTE_S, MINUTES_KEPT_S), (HOUR_S, kept_s), (DAY_S, kept_s))
    for resolution, age_s in ages:
        old = delete(StatsRow).where(resolution_s == resolution, starts_at < db_now(-age_s))
        await uow.session.execute(old.execution_options(synchronize_session=False))
    old_days = delete(UsageDayRow).where(col(UsageDayRow.starts_at) < db_now(-kept_s))
    await uow.session.execute(old_days.execution_options(synchronize_session=False))


async def _add_stats(session: AsyncSession, sums: Mapping[StatsKey, Figures]) -> None:
    if not sums:
        return
    known = await _read_stats(session, sums)
    for key, before in known.items():
        before.merge(sums[key])
    new = [{**vars(key), "data": figures.as_document()} for key, figures in sums.items() if key not in known]
    if new:
        await session.execute(insert(_STATS), new)
    if known:
        match = and_(*(_STATS.c[name] == bindparam(f"key_{name}") for name in _KEY))
        changed = update(_STATS).where(match).values(data=bindparam("new_data", type_=_STATS.c.data.type))
        changes = [
            {**{f"key_{name}": value for name, value in vars(key).items()}, "new_data": figures.as_document()}
            for key, figures in known.items()
        ]
        await (await session.connection()).execute(changed, changes)


async def _read_stats(session: AsyncSession, sums: Mapping[StatsKey, Figures]) -> dict[StatsKey, Figures]:
    """The stored figures of these periods, as far as there are any."""
    by_period: dict[tuple[int, datetime], set[str]] = defaultdict(set)
    for key in sums:
        by_period[key.resolution_s, key.starts_at].add(key.model)
    known: dict[StatsKey, Figures] = {}
    for (resolution_s, starts_at), models in by_period.items():
        statement = select(*(_STATS.c[name] for name in _KEY), _STATS.c.data).where(
            _STATS.c.resolution_s == resolution_s, _STATS.c.starts_at == starts_at, _STATS.c.model.in_(models)
        )
        for row in await session.execute(statement):
            key = StatsKey(*row[: len(_KEY)])
            if key in sums:
                known[key] = Figures.from_document(row.data)
    return known


async def _add_usage(session: AsyncSession, found: Iterable[tuple[str, datetime, Measurement]]) -> None:
    sums: dict[tuple[str, datetime], UsageFigures] = defaultdict(UsageFigures)
    for owner_id, at, each in found:
        sums[owner_id, start_of(at, DAY_S)].count(each)
    for (owner_id, starts_at), added in sums.items():
        names = [field.name for field in fields(added)]
        values: dict[str, Any] = dict(zip(names, astuple(added), strict=True))
        changed = (
            update(_USAGE)
            .where(_USAGE.c.owner_id == owner_id, _USAGE.c.starts_at == starts_at)
            .values({_USAGE.c[name]: _USAGE.c[name] + value for name, value in values.items()})
            .returning(_USAGE.c.owner_id)
        )
        if (await session.execute(changed)).first() is None:
            await session.execute(insert(_USAGE).values(owner_id=owner_id, starts_at=starts_at, **values))
