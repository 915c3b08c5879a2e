"""Lets contenders take turns within a budget of time, and says how they compare."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Figure:
    """One measured value. `lowest` and `highest` are of the rounds: the spread."""

    name: str
    value: float
    unit: str
    lowest: float | None = None
    highest: float | None = None

    def __str__(self) -> str:
        spread = "" if self.lowest is None else f"  ({self.lowest:.3f} to {self.highest:.3f})"
        return f"{self.name:<64} {self.value:>9.3f} {self.unit}{spread}"


class Budget:
    """The time that is left for measurements. Without a limit there is always some."""

    def __init__(self, limit_s: float | None) -> None:
        self._until_s = None if limit_s is None else time.monotonic() + limit_s

    @property
    def is_spent(self) -> bool:
        return self._until_s is not None and time.monotonic() > self._until_s


@dataclass(frozen=True)
class Taken:
    """What one run took: seconds on the clock, and seconds of CPU of this process."""

    wall_s: float
    cpu_s: float


Run = Callable[[], object]


def measure(run: Run) -> Taken:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Taken(time.perf_counter() - wall_s, time.process_time() - cpu_s)


def compare(name: str, base: Run, ours: Run, *, rounds: int, budget: Budget, is_cpu: bool) -> Iterator[Figure]:
    """Yields how much faster `ours` is: the median of the rounds, in which both take turns, in either order.

    On a CPU also by seconds of CPU, which neighbours on a shared machine disturb less.
    """
    pairs: list[tuple[Taken, Taken]] = []
    for number in range(rounds):
        if pairs and budget.is_spent:
            break
        if number % 2:
            mine = measure(ours)
            pairs.append((measure(base), mine))
        else:
            pairs.append((measure(base), measure(ours)))
    yield _ratio(name, [one.wall_s / other.wall_s for one, other in pairs])
    if is_cpu:
        yield _ratio(f"{name}, CPU", [one.cpu_s / other.cpu_s for one, other in pairs])


def _ratio(name: str, ratios: Sequence[float]) -> Figure:
    return Figure(name, statistics.median(ratios), "x", min(ratios), max(ratios))
