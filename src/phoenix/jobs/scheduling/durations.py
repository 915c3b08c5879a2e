"""How fast clips are rendered and reels assembled, learned from finished clips per model, shape and steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sqlalchemy import Float, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract import ResolvedClip, ResolvedReel
from phoenix.db import UnitOfWork, UtcDateTime, db_now
from phoenix.jobs.tables import DurationStatsRow

_SMOOTHING_FACTOR = 0.3
"""The weight of the newest clip in the moving average. One odd clip must not make all estimates jump."""

_MOST_ROWS = 500
"""The most shapes to read. Clients choose sizes and steps freely, and the newest shapes are the likeliest to recur."""

RETENTION_S = 90 * 24 * 3600
"""Counted from the last clip of a shape. By then drivers, models and machines have changed."""

# The moving average is computed in the database: two clips of one shape may end at the same time.
_UPSERT = text(
    "INSERT INTO duration_stats "
    "(model, width, height, num_frames, steps, postprocessing, total_s_per_weight, finish_s_per_weight, updated_at) "
    "VALUES (:model, :width, :height, :num_frames, :steps, :postprocessing, :total_s_per_weight, :finish_s_per_weight, "
    ":updated_at) "
    "ON CONFLICT (model, width, height, num_frames, steps, postprocessing) DO UPDATE SET "
    "total_s_per_weight = duration_stats.total_s_per_weight * (1 - :share) + excluded.total_s_per_weight * :share, "
    "finish_s_per_weight = duration_stats.finish_s_per_weight * (1 - :share) + excluded.finish_s_per_weight * :share, "
    "updated_at = excluded.updated_at"
).bindparams(bindparam("updated_at", type_=UtcDateTime()), bindparam("share", type_=Float()))


_ASSEMBLY = "(assembly)"
"""Takes the place of the model in the shape of an assembly. The weight of an assembly is its number of frames."""


@dataclass(frozen=True)
class Shape:
    """What the duration of a clip, or of an assembly, depends on."""

    model: str
    width: int
    height: int
    num_frames: int
    steps: int
    postprocessing: str = ""
    """What changes the frames after the model, and the size and the frame rate that it makes."""


@dataclass(frozen=True)
class DurationPerWeight:
    """Seconds per unit of weight; for weights see `TaskRow.weight`."""

    total_s: float
    finish_s: float = 0.0
    """The part of `total_s` after the last step: decoding, encoding and storing."""


@dataclass(frozen=True)
class DurationStats:
    """Everything learned so far."""

    by_shape: Mapping[Shape, DurationPerWeight]
    by_model: Mapping[str, DurationPerWeight]

    def find(self, shape: Shape) -> DurationPerWeight | None:
        """The duration of this shape, or else of its model. None for a model without any finished clip."""
        return self.by_shape.get(shape) or self.by_model.get(shape.model)

    def estimate_clip_s(self, shape: Shape, weight: float) -> float | None:
        """Seconds that a clip will probably take; None if nothing is known."""
        duration = self.find(shape)
        return None if duration is None else duration.total_s * weight

    def estimate_task_s(self, model: str | None, weight: float) -> float | None:
        """Like `estimate_clip_s`, for callers that do not know the shape."""
        duration = self.by_model.get(model or "")
        return None if duration is None else duration.total_s * weight

    def estimate_assembly_s(self, reel: ResolvedReel) -> float | None:
        """Seconds that the assembly will probably take; None if no similar reel has been assembled."""
        return self.estimate_clip_s(*assembly_shape(reel))


NO_DURATIONS = DurationStats({}, {})


def clip_shape(model: str, clip: ResolvedClip) -> Shape:
    """The shape of a clip of this model."""
    return Shape(model, clip.width, clip.height, clip.num_frames, clip.steps, _postprocessing_of(clip))


def _postprocessing_of(clip: ResolvedClip) -> str:
    if not clip.postprocessors:
        return ""
    width, height = clip.output_size
    return f"{'+'.join(clip.postprocessors)} to {width}x{height}, {clip.num_output_frames} frames"


def assembly_shape(reel: ResolvedReel) -> tuple[Shape, float]:
    """Shape and weight of a reel's assembly. Crossfade and soundtrack count as steps: they are encoded, cuts copied."""
    steps = int(reel.transition.kind == "crossfade") + int(reel.soundtrack is not None)
    shape = Shape(_ASSEMBLY, reel.width, reel.height, num_frames=0, steps=steps)
    return shape, float(sum(clip.num_frames for clip in reel.clips))


def record_duration(uow: UnitOfWork, shape: Shape, *, weight: float, duration_s: float, finish_s: float = 0.0) -> None:
    """Records at the commit how many seconds a clip took, and how many of these after its last step."""
    if weight > 0:
        uow.before_commit(_RecordedDuration(shape, DurationPerWeight(duration_s / weight, finish_s / weight)))


@dataclass(frozen=True)
class _RecordedDuration:
    shape: Shape
    duration: DurationPerWeight

    async def run(self, uow: UnitOfWork) -> None:
        values = {
            "total_s_per_weight": self.duration.total_s,
            "finish_s_per_weight": self.duration.finish_s,
            "share": _SMOOTHING_FACTOR,
        }
        await uow.session.execute(_UPSERT, {**vars(self.shape), **values, "updated_at": await uow.now()})


async def delete_old_durations(uow: UnitOfWork) -> None:
    """Deletes the durations of shapes that were last rendered more than `RETENTION_S` ago."""
    old = delete(DurationStatsRow).where(col(DurationStatsRow.updated_at) < db_now(-RETENTION_S))
    await uow.session.execute(old.execution_options(synchronize_session=False))


_NEWEST = (
    select(
        *(col(DurationStatsRow.model), col(DurationStatsRow.width), col(DurationStatsRow.height)),
        *(col(DurationStatsRow.num_frames), col(DurationStatsRow.steps), col(DurationStatsRow.postprocessing)),
        *(col(DurationStatsRow.total_s_per_weight), col(DurationStatsRow.finish_s_per_weight)),
    )
    .order_by(col(DurationStatsRow.updated_at).desc())
    .limit(_MOST_ROWS)
)


async def read_duration_stats(session: AsyncSession) -> DurationStats:
    """The learned durations of the newest shapes, and their means by model."""
    rows = await session.execute(_NEWEST)
    by_shape = {Shape(*row[:6]): DurationPerWeight(*row[6:]) for row in rows}
    of_model: dict[str, list[DurationPerWeight]] = {}
    for shape, duration in by_shape.items():
        of_model.setdefault(shape.model, []).append(duration)
    return DurationStats(by_shape, {model: _mean(durations) for model, durations in of_model.items()})


def _mean(durations: Sequence[DurationPerWeight]) -> DurationPerWeight:
    return DurationPerWeight(
        fmean(duration.total_s for duration in durations), fmean(duration.finish_s for duration in durations)
    )
