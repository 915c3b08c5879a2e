"""The progress of a job: its clips weighted by their cost, and a share for the assembly. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from phoenix.contract import ClipProgress
from phoenix.events.progress_cache import ProgressSnapshot, find_progress
from phoenix.jobs.lifecycle import TaskKind, TaskState

MEDIA_SHARE = 0.05
"""The share of a reel's time that joining and sound take. Rendering takes the rest."""


class WeightedTask(Protocol):
    """The fields of a task that progress depends on."""

    @property
    def kind(self) -> TaskKind: ...
    @property
    def state(self) -> TaskState: ...
    @property
    def weight(self) -> float: ...


class RecordedTask(WeightedTask, Protocol):
    """The fields of a task that its recorded progress depends on."""

    @property
    def position(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def progress(self) -> Mapping[str, Any] | None: ...


def recorded_progress(tasks: Sequence[RecordedTask]) -> ProgressSnapshot:
    """The progress in SQL: of the whole job, and of each clip that is running.

    Workers record progress before they publish it. So no client, on any replica, has seen more of an attempt.
    """
    recorded = [progress for task in tasks if (progress := _find_recorded(task)) is not None]
    running = {(task.position, task.attempt) for task in tasks if task.state is TaskState.RUNNING}
    clips = {each.clip_index: each for each in recorded if (each.clip_index, each.attempt) in running}
    return ProgressSnapshot(max([job_progress(tasks), *(each.job_progress for each in recorded)]), clips)


def _find_recorded(task: RecordedTask) -> ClipProgress | None:
    # A newer version may have written it.
    return find_progress(task.progress) if task.progress else None


def job_progress(tasks: Sequence[WeightedTask]) -> float:
    """Fraction of the job that is safely done: running clips count only once they have succeeded."""
    clips = [task for task in tasks if task.kind.makes_frames]
    others = [task for task in tasks if not task.kind.makes_frames and task.kind.decides_job]
    media = sum(task.state is TaskState.SUCCEEDED for task in others) / len(others) if others else 1.0
    if not clips:
        return media
    done = [float(task.state is TaskState.SUCCEEDED) for task in clips]
    made = weigh(done, [task.weight for task in clips])
    return (1 - MEDIA_SHARE) * made + MEDIA_SHARE * media if others else made


def weigh(fractions: Sequence[float], weights: Sequence[float]) -> float:
    """The weighted mean of fractions; 0 if nothing has weight."""
    total = sum(weights)
    if total <= 0:
        return 0.0
    return sum(fraction * weight for fraction, weight in zip(fractions, weights, strict=True)) / total
