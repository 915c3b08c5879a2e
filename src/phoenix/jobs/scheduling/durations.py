"""How fast clips are rendered and assembled, learned per model, shape and steps from those that succeeded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from sqlalchemy import Float, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.resolved import ResolvedClip, ResolvedReel
from phoenix.db.columns import UtcDateTime, db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.tables import PaceRow

_NEWEST_COUNTS_FOR = 0.3
"""Weight of the newest clip in the moving average: one odd clip must not make all estimates jump."""

_MOST_ROWS = 500
"""Clients choose sizes and steps freely; the shapes rendered last are the likeliest to come again."""

KEPT_S = 90 * 24 * 3600
"""After the last clip of a shape: by then drivers, models and machines have changed, and one clip teaches it anew."""

# The moving average is computed in the database: two clips of one shape may end at the same time.
_LEARN = text(
    "INSERT INTO paces (model, width, height, num_frames, steps, seconds_per_weight, finish_per_weight, learned_at) "
    "VALUES (:model, :width, :height, :num_frames, :steps, :seconds_per_weight, :finish_per_weight, :learned_at) "
    "ON CONFLICT (model, width, height, num_frames, steps) DO UPDATE SET "
    "seconds_per_weight = paces.seconds_per_weight * (1 - :share) + excluded.seconds_per_weight * :share, "
    "finish_per_weight = paces.finish_per_weight * (1 - :share) + excluded.finish_per_weight * :share, "
    "learned_at = excluded.learned_at"
).bindparams(bindparam("learned_at", type_=UtcDateTime()), bindparam("share", type_=Float()))


_ASSEMBLY = "(assembly)"
"""Stands for the model of an assembly, whose weight is its number of frames."""


@dataclass(frozen=True)
class Shape:
    """What the duration of a clip, or of an assembly, depends on."""

    model: str
    width: int
    height: int
    num_frames: int
    steps: int


@dataclass(frozen=True)
class Pace:
    """Seconds per unit of weight; for weights see `TaskRow.weight`."""

    whole_s: float
    finish_s: float = 0.0
    """The part of it after the last step: decoding, encoding and storing."""


@dataclass(frozen=True)
class Paces:
    """Everything learned so far."""

    by_shape: Mapping[Shape, Pace]
    by_model: Mapping[str, Pace]

    def find(self, shape: Shape) -> Pace | None:
        """The pace of this shape, or else of its model; None for a model that has not rendered anything yet."""
        return self.by_shape.get(shape) or self.by_model.get(shape.model)

    def clip_s(self, shape: Shape, weight: float) -> float | None:
        """Seconds that a clip will probably take; None if nothing is known."""
        pace = self.find(shape)
        return None if pace is None else pace.whole_s * weight

    def task_s(self, model: str | None, weight: float) -> float | None:
        """Like `clip_s`, for callers that do not know the shape."""
        pace = self.by_model.get(model or "")
        return None if pace is None else pace.whole_s * weight

    def assembly_s(self, reel: ResolvedReel) -> float | None:
        """Seconds that the assembly will probably take; None if there never was one like it."""
        return self.clip_s(*assembly_of(reel))


NOTHING_LEARNED = Paces({}, {})


def shape_of(model: str, clip: ResolvedClip) -> Shape:
    return Shape(model, clip.width, clip.height, clip.num_frames, clip.steps)


def assembly_of(reel: ResolvedReel) -> tuple[Shape, float]:
    """Shape and weight of a reel's assembly. Crossfade and soundtrack count as steps: they are encoded, cuts copied."""
    steps = int(reel.transition.kind == "crossfade") + int(reel.soundtrack is not None)
    shape = Shape(_ASSEMBLY, reel.width, reel.height, num_frames=0, steps=steps)
    return shape, float(sum(clip.num_frames for clip in reel.clips))


def learn(uow: UnitOfWork, shape: Shape, *, weight: float, spent_s: float, finish_s: float = 0.0) -> None:
    """Records at the commit how many seconds a clip took, and how many of them after its last step."""
    if weight > 0:
        uow.before_commit(partial(_learn, uow, shape, Pace(spent_s / weight, finish_s / weight)))


async def _learn(uow: UnitOfWork, shape: Shape, pace: Pace) -> None:
    learned = {"seconds_per_weight": pace.whole_s, "finish_per_weight": pace.finish_s, "share": _NEWEST_COUNTS_FOR}
    await uow.session.execute(_LEARN, {**vars(shape), **learned, "learned_at": await uow.now()})


async def forget_paces(uow: UnitOfWork) -> None:
    """Deletes those of shapes that nobody has asked for in a long time."""
    old = delete(PaceRow).where(col(PaceRow.learned_at) < db_now(-KEPT_S))
    await uow.session.execute(old.execution_options(synchronize_session=False))


async def read_paces(session: AsyncSession) -> Paces:
    statement = select(PaceRow).order_by(col(PaceRow.learned_at).desc()).limit(_MOST_ROWS)
    rows = (await session.scalars(statement)).all()
    by_shape = {
        Shape(row.model, row.width, row.height, row.num_frames, row.steps): Pace(
            row.seconds_per_weight, row.finish_per_weight
        )
        for row in rows
    }
    of_model: dict[str, list[Pace]] = {}
    for shape, pace in by_shape.items():
        of_model.setdefault(shape.model, []).append(pace)
    return Paces(by_shape, {model: _mean(paces) for model, paces in of_model.items()})


def _mean(paces: Sequence[Pace]) -> Pace:
    return Pace(fmean(pace.whole_s for pace in paces), fmean(pace.finish_s for pace in paces))
