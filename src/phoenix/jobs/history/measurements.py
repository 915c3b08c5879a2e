"""What the statistics count: an attempt or a job, at its end, in the transaction that ends it.

Each is a row of its own: statistics that were added up here would make all workers wait for one row.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import insert

from phoenix.contract import ResolvedClip, ResolvedReel
from phoenix.db import UnitOfWork, table_of
from phoenix.errors import NewerVersionError, Stage
from phoenix.ids import new_measurement_id
from phoenix.jobs.history.tables import MeasurementRow
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.tables import AttemptRow, JobRow, TaskRow

NONE = "none"
"""The model of work that needs none, and the code of work that ended without an error."""

ON_DEVICE = frozenset({Stage.TEXT, Stage.DENOISE, Stage.DECODE})
"""The stages in which a clip has its slot."""

_HEIGHTS = (256, 384, 512, 576, 768, 1088)
_HEIGHT_NAMES = ("240p", "360p", "480p", "540p", "720p", "1080p", "large")
_FRAMES = (16, 33, 49, 81, 121)


def shape_of(clip: ResolvedClip) -> str:
    """The class of a clip's size and number of frames, such as `480p-81`. There are 42 at most, for any requests."""
    short_side = min(clip.width, clip.height)
    height = sum(short_side > limit for limit in _HEIGHTS)
    longest = next((str(limit) for limit in _FRAMES if clip.num_frames <= limit), "more")
    return f"{_HEIGHT_NAMES[height]}-{longest}"


@dataclass(frozen=True)
class Measurement:
    """What is counted of an attempt (`subject` is `task`) or of a job. Seconds, bytes; None for what is not known."""

    subject: str
    name: str
    """The queue of the attempt, or the kind of the job."""
    outcome: str
    """How the attempt ended, or the state of the job."""
    model: str = NONE
    shape: str = ""
    code: str = NONE
    created_at: str | None = None
    """When the job was submitted, if this is its first end."""
    is_clip: bool = False
    took_s: float | None = None
    waited_s: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict[str, float])
    peak_memory_bytes: int | None = None
    output_bytes: int = 0
    video_s: float = 0.0

    @property
    def device_s(self) -> float:
        """Seconds in which a clip had its slot; 0 for a lost attempt, whose stages nobody knows."""
        return sum(seconds for stage, seconds in self.stages.items() if stage in ON_DEVICE)


def measure_attempt(uow: UnitOfWork, job: JobRow, task: TaskRow, attempt: AttemptRow, *, output_bytes: int) -> None:
    """Has the statistics count an attempt that has just ended, at the commit."""
    assert attempt.outcome is not None
    assert attempt.ended_at is not None
    clip = _find_clip(job, task)
    found = Measurement(
        subject="task",
        name=task.queue,
        outcome=attempt.outcome.value,
        model=(job.model or NONE) if clip else NONE,
        shape=shape_of(clip) if clip else "",
        code=_code_of(attempt.error),
        is_clip=clip is not None,
        took_s=(attempt.ended_at - attempt.started_at).total_seconds(),
        waited_s=attempt.waited_s,
        stages=attempt.stages,
        peak_memory_bytes=attempt.peak_memory_bytes,
        output_bytes=output_bytes,
    )
    uow.before_commit(_Measured(job.owner_id, found))


def measure_job(uow: UnitOfWork, job: JobRow, *, video_s: float) -> None:
    """Has the statistics count a job that has just ended, at the commit. `video_s`: the length of its result."""
    assert job.finished_at is not None
    started = job.started_at
    found = Measurement(
        subject="job",
        name=job.kind,
        outcome=str(job.state),
        model=job.model or NONE,
        code=_code_of(job.error),
        created_at=job.created_at.isoformat() if job.ends == 1 else None,
        took_s=(job.finished_at - job.queued_at).total_seconds(),
        waited_s=(started - job.queued_at).total_seconds() if started else None,
        video_s=video_s,
    )
    uow.before_commit(_Measured(job.owner_id, found))


def _find_clip(job: JobRow, task: TaskRow) -> ResolvedClip | None:
    if task.kind is not TaskKind.RENDER:
        return None
    try:
        request = job.parse_request()
    except NewerVersionError:
        # A lost attempt of such a job is recovered nevertheless.
        return None
    return request.renders[task.position] if isinstance(request, ResolvedReel) else None


def _code_of(error: Mapping[str, Any] | None) -> str:
    return str(error["code"]) if error else NONE


_INSERT = insert(table_of(MeasurementRow))


@dataclass(frozen=True)
class _Measured:
    owner_id: str
    found: Measurement

    async def run(self, uow: UnitOfWork) -> None:
        at, data = await uow.now(), asdict(self.found)
        values = {"id": new_measurement_id(), "owner_id": self.owner_id, "at": at, "data": data}
        await uow.session.execute(_INSERT, values)
