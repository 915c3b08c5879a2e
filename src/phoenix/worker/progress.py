"""How far a clip and its job are, and how long they will take. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phoenix.jobs.estimate import blend
from phoenix.jobs.progress import MEDIA_SHARE, weigh

STEPS_SHARE = 0.9
"""Of a clip's progress; encoding its frames takes the rest."""


@dataclass(frozen=True)
class Advance:
    """Where the rendering of a clip is, `elapsed_s` after its first step began."""

    step: int
    steps: int
    encoded_share: float
    elapsed_s: float

    @property
    def progress(self) -> float:
        """Fraction of the clip."""
        return min(1.0, STEPS_SHARE * self.step / max(self.steps, 1) + (1 - STEPS_SHARE) * self.encoded_share)

    def eta_s(self, learned_s: float | None) -> float | None:
        """Seconds until the clip is done, at the pace so far and by what clips like it took."""
        return blend(learned_s, elapsed_s=self.elapsed_s, progress=self.progress)


@dataclass(frozen=True)
class Share:
    """A job's clips by what they weigh, and which of them is in hand here."""

    weights: Sequence[float]
    position: int

    def job_progress(self, mine: float, others: Mapping[int, float]) -> float:
        """Fraction of the job, from that of the clip in hand and those of the others as far as they are known."""
        return (1 - MEDIA_SHARE) * weigh(self._fractions(mine, others), self.weights)

    def job_eta_s(self, my_eta_s: float | None, mine: float, others: Mapping[int, float]) -> float | None:
        """Seconds until all clips are done, if as many are rendered at once as now, at the pace of this one."""
        left_here = self.weights[self.position] * (1 - mine)
        if my_eta_s is None or left_here <= 0:
            return my_eta_s
        fractions = self._fractions(mine, others)
        left = sum(weight * (1 - fraction) for weight, fraction in zip(self.weights, fractions, strict=True))
        at_once = sum(0 < fraction < 1 for fraction in fractions)
        return max(my_eta_s, left * my_eta_s / left_here / max(at_once, 1))

    def _fractions(self, mine: float, others: Mapping[int, float]) -> list[float]:
        known = {**others, self.position: mine}
        return [known.get(index, 0.0) for index in range(len(self.weights))]
