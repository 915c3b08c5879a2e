"""How fast clips are rendered, learned per model, shape and steps from those that succeeded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from sqlalchemy import Float, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.resolved import ResolvedClip
from phoenix.db.columns import UtcDateTime
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.tables import PaceRow

_NEWEST_COUNTS_FOR = 0.3
"""Of the average: one clip that had the machine to itself, or shared it, must not make all estimates jump."""

_MOST_ROWS = 500
"""Clients choose sizes and steps freely; the shapes rendered last are those that will come again."""

# The moving average is made in the database: two clips of one shape may end at the same time.
_LEARN = text(
    "INSERT INTO paces (model, width, height, num_frames, steps, seconds_per_weight, learned_at) "
    "VALUES (:model, :width, :height, :num_frames, :steps, :seconds_per_weight, :learned_at) "
    "ON CONFLICT (model, width, height, num_frames, steps) DO UPDATE SET "
    "seconds_per_weight = paces.seconds_per_weight * (1 - :share) + excluded.seconds_per_weight * :share, "
    "learned_at = excluded.learned_at"
).bindparams(bindparam("learned_at", type_=UtcDateTime()), bindparam("share", type_=Float()))


@dataclass(frozen=True)
class Shape:
    """What a clip's time depends on."""

    model: str
    width: int
    height: int
    num_frames: int
    steps: int


@dataclass(frozen=True)
class Paces:
    """Seconds per unit of weight; for weights see `TaskRow.weight`."""

    by_shape: Mapping[Shape, float]
    by_model: Mapping[str, float]

    def clip_s(self, shape: Shape, weight: float) -> float | None:
        """Seconds that a clip will probably take; None for a model that has not rendered anything yet."""
        pace = self.by_shape.get(shape)
        return self.task_s(shape.model, weight) if pace is None else pace * weight

    def task_s(self, model: str | None, weight: float) -> float | None:
        """As `clip_s`, where the shape is not at hand."""
        pace = self.by_model.get(model or "")
        return None if pace is None else pace * weight


NOTHING_LEARNED = Paces({}, {})


def shape_of(model: str, clip: ResolvedClip) -> Shape:
    return Shape(model, clip.width, clip.height, clip.num_frames, clip.steps)


def learn(uow: UnitOfWork, shape: Shape, *, weight: float, spent_s: float) -> None:
    """Notes, at the commit, that a clip took so long."""
    if weight > 0:
        uow.before_commit(partial(_learn, uow, shape, spent_s / weight))


async def _learn(uow: UnitOfWork, shape: Shape, seconds_per_weight: float) -> None:
    values = {**vars(shape), "seconds_per_weight": seconds_per_weight, "share": _NEWEST_COUNTS_FOR}
    await uow.session.execute(_LEARN, {**values, "learned_at": await uow.now()})


async def read_paces(session: AsyncSession) -> Paces:
    statement = select(PaceRow).order_by(col(PaceRow.learned_at).desc()).limit(_MOST_ROWS)
    rows = (await session.scalars(statement)).all()
    by_shape = {
        Shape(row.model, row.width, row.height, row.num_frames, row.steps): row.seconds_per_weight for row in rows
    }
    of_model: dict[str, list[float]] = {}
    for shape, pace in by_shape.items():
        of_model.setdefault(shape.model, []).append(pace)
    return Paces(by_shape, {model: fmean(paces) for model, paces in of_model.items()})
