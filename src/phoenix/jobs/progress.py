"""How far a job is: its clips weighted by what they cost, and a share for putting them together. Pure."""

from collections.abc import Mapping, Sequence

from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.tables import TaskRow

MEDIA_SHARE = 0.05
"""Of a reel's time, what joining and sound take; rendering takes the rest."""


def job_progress(tasks: Sequence[TaskRow], clip_fractions: Mapping[int, float]) -> float:
    """Fraction of the job, from the states of its tasks and the fractions of the clips that are running."""
    clips = [task for task in tasks if task.kind is TaskKind.RENDER]
    others = [task for task in tasks if task.kind is not TaskKind.RENDER]
    media = sum(task.state is TaskState.SUCCEEDED for task in others) / len(others) if others else 1.0
    if not clips:
        return media
    fractions = [1.0 if task.state is TaskState.SUCCEEDED else clip_fractions.get(task.position, 0.0) for task in clips]
    return (1 - MEDIA_SHARE) * weigh(fractions, [task.weight for task in clips]) + MEDIA_SHARE * media


def weigh(fractions: Sequence[float], weights: Sequence[float]) -> float:
    """The weighted mean of fractions; 0 if nothing has weight."""
    total = sum(weights)
    if total <= 0:
        return 0.0
    return sum(fraction * weight for fraction, weight in zip(fractions, weights, strict=True)) / total
