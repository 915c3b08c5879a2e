"""Progress and time estimates of a clip and its job. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from phoenix.contract.events import ClipProgress
from phoenix.jobs.lifecycle import MEDIA_SHARE, weigh
from phoenix.jobs.scheduling.durations import DurationPerWeight
from phoenix.jobs.scheduling.eta import assembly_duration_s, blend_estimate, parallel_work_s

STEPS_SHARE = 0.9
"""Share of the steps in a clip's progress; encoding its frames is the rest."""


@dataclass(frozen=True)
class RenderProgress:
    """The state of a clip's rendering: its steps, and what follows them."""

    step: int
    steps: int
    encoded_share: float
    stepping_s: float
    finishing_s: float = 0.0
    """Seconds since its last step: decoding, encoding, storing."""
    encoding_s: float = 0.0

    @property
    def progress(self) -> float:
        """Fraction of the clip."""
        return min(1.0, STEPS_SHARE * self.step / max(self.steps, 1) + (1 - STEPS_SHARE) * self.encoded_share)

    def eta_s(self, duration: DurationPerWeight | None, weight: float) -> float | None:
        """Seconds until the clip is done, from its speed so far and the learned duration.

        None if nothing was learned: the steps do not show how long decoding and encoding will take.
        """
        if duration is None:
            return None
        steps_s = max(0.0, duration.total_s - duration.finish_s) * weight
        steps_left_s = blend_estimate(steps_s, elapsed_s=self.stepping_s, progress=self.step / max(self.steps, 1))
        return (steps_left_s or 0.0) + self._finish_left_s(duration.finish_s * weight)

    def _finish_left_s(self, learned_s: float) -> float:
        at_current_speed_s = blend_estimate(None, elapsed_s=self.encoding_s, progress=self.encoded_share) or 0.0
        return max(learned_s - self.finishing_s, at_current_speed_s)


@dataclass(frozen=True)
class ClipShare:
    """The weights of a job's clips, and which of them is rendered here."""

    weights: Sequence[float]
    position: int
    duration: DurationPerWeight | None = None
    assembly_s: float | None = None
    """Learned; see `Claim`."""
    done: Collection[int] = ()
    """Clips that were done before this one was started, whatever their published progress is."""

    @property
    def my_weight(self) -> float:
        return self.weights[self.position]

    def job_progress(self, mine: float, others: Mapping[int, ClipProgress]) -> float:
        """Fraction of the job, from this clip's and, as far as known, the other clips' progress."""
        published = {index: progress.progress for index, progress in others.items()}
        known = {**published, **dict.fromkeys(self.done, 1.0), self.position: mine}
        return (1 - MEDIA_SHARE) * weigh([known.get(index, 0.0) for index in range(len(self.weights))], self.weights)

    def job_eta_s(self, my_eta_s: float | None, others: Mapping[int, ClipProgress]) -> float | None:
        """Seconds until the job is done with as many clips at a time as now; None if nothing was learned."""
        if my_eta_s is None or self.duration is None:
            return None
        under_way, waiting = [my_eta_s], list[float]()
        for index, weight in enumerate(self.weights):
            whole_s = self.duration.total_s * weight
            if index == self.position or index in self.done:
                continue
            if (published := others.get(index)) is None:
                waiting.append(whole_s)
            elif published.progress < 1:
                under_way.append(whole_s * (1 - published.progress) if published.eta_s is None else published.eta_s)
        clips_s = self.duration.total_s * sum(self.weights)
        return parallel_work_s(under_way, waiting) + assembly_duration_s(self.assembly_s, clips_s)
