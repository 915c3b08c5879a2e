"""Estimates how long jobs will take, from learned durations. Pure. It gives no estimate rather than a guess."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from phoenix.contract import ResolvedReel
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.progress import MEDIA_SHARE
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.durations import DurationStats, clip_shape

# (limit, step): an estimate below the limit is rounded to the step. Finer steps would suggest a false precision.
_STEPS_S = ((15.0, 1), (60.0, 5), (600.0, 15))
_COARSEST_S = 60


@dataclass
class Countdown:
    """A smoothed countdown in seconds: each new estimate moves it by a fifth of the difference."""

    left_s: float | None = None
    _at_s: float = 0.0

    def update(self, estimate_s: float | None, *, now_s: float) -> float | None:
        """The rounded countdown after a new estimate; None without an estimate. `now_s` is on a monotonic clock."""
        if estimate_s is None:
            return None
        if self.left_s is not None:
            expected_s = max(0.0, self.left_s - (now_s - self._at_s))
            estimate_s = expected_s + (estimate_s - expected_s) / 5
        self.left_s, self._at_s = estimate_s, now_s
        return round_estimate(estimate_s)


def round_estimate(seconds: float) -> float:
    """Rounds seconds to the precision that an estimate has."""
    step_s = next((step_s for limit_s, step_s in _STEPS_S if seconds < limit_s), _COARSEST_S)
    return float(round(seconds / step_s) * step_s)


def blend_estimate(learned_s: float | None, *, elapsed_s: float, progress: float) -> float | None:
    """Seconds left: at first from the learned duration, and more and more from the rate of the work so far."""
    if progress <= 0:
        return None if learned_s is None else max(0.0, learned_s - elapsed_s)
    left_at_this_rate_s = elapsed_s * (1 - progress) / progress
    if learned_s is None:
        return left_at_this_rate_s
    return progress * left_at_this_rate_s + (1 - progress) * max(0.0, learned_s * (1 - progress))


def parallel_work_s(
    running_s: Mapping[int, float], waiting_s: Mapping[int, float], prerequisites: Sequence[Collection[int]] = ()
) -> float:
    """Seconds until all clips are done, with as many at a time as run now; at least the longest chain of clips.

    `running_s` and `waiting_s` are seconds left by the clip's index. `prerequisites`: for each clip of the job, the
    indices of the clips that it waits for; empty if no clip waits for another one.
    """
    left_s = {**running_s, **waiting_s}
    finish_s: dict[int, float] = {}
    for index in sorted(left_s):
        before = prerequisites[index] if prerequisites else ()
        finish_s[index] = left_s[index] + max((finish_s.get(other, 0.0) for other in before), default=0.0)
    return max(sum(left_s.values()) / max(len(running_s), 1), *finish_s.values(), 0.0)


def work_left_s(job: FullJob, durations: DurationStats) -> float | None:
    """Seconds that the rest of a reel takes, with as many clips at a time as run now; None if unknown."""
    request = job.request
    if not isinstance(request, ResolvedReel):
        return None
    learned = _clip_seconds(job, request, durations)
    known = [seconds for seconds in learned.values() if seconds is not None]
    if len(known) < len(learned):
        return None
    clips = [task for task in job.tasks if task.kind is TaskKind.RENDER and task.state is not TaskState.SUCCEEDED]
    running = {task.position: learned[task.position] or 0.0 for task in clips if task.state is TaskState.RUNNING}
    waiting = {task.position: learned[task.position] or 0.0 for task in clips if task.state is not TaskState.RUNNING}
    prerequisites = [task.prerequisites for task in job.tasks if task.kind is TaskKind.RENDER]
    clips_s = parallel_work_s(running, waiting, prerequisites)
    return clips_s + assembly_duration_s(durations.estimate_assembly_s(request), sum(known))


def assembly_duration_s(learned_s: float | None, clips_s: float) -> float:
    """Seconds that the assembly takes: as learned, or else the usual share of a reel's time."""
    return clips_s * MEDIA_SHARE / (1 - MEDIA_SHARE) if learned_s is None else learned_s


def _clip_seconds(job: FullJob, request: ResolvedReel, durations: DurationStats) -> Mapping[int, float | None]:
    rendering = [task for task in job.tasks if task.kind is TaskKind.RENDER]
    return {
        task.position: durations.estimate_clip_s(clip_shape(request.model, request.renders[task.position]), task.weight)
        for task in rendering
    }
