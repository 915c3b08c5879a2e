"""The distribution of many durations or sizes in a few counters, which can be added up. Pure.

Each bucket is 9 % wider than the bucket below it: eight buckets per doubling, as in Prometheus's native histograms of
schema 3. So a percentile is known to within 4.5 %, of any number of merged sketches.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BUCKETS_PER_DOUBLING = 8
MIN_INDEX = -10 * BUCKETS_PER_DOUBLING
"""Everything below a thousandth counts as a thousandth."""

MAX_INDEX = 50 * BUCKETS_PER_DOUBLING


@dataclass
class Sketch:
    """Counts by bucket. Bucket `i` has the values above 2^((i-1)/8) and up to 2^(i/8)."""

    count: int = 0
    total: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def of(cls, *values: float) -> "Sketch":
        sketch = cls()
        for value in values:
            sketch.add(value)
        return sketch

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Sketch":
        """The sketch that `as_document` wrote."""
        buckets = {int(index): number for index, number in document["b"].items()}
        return cls(document["n"], document["s"], buckets)

    def as_document(self) -> dict[str, Any]:
        """The sketch as JSON."""
        return {"n": self.count, "s": self.total, "b": {str(index): n for index, n in sorted(self.buckets.items())}}

    def add(self, value: float) -> None:
        """Counts a value. A negative value counts as 0."""
        index = find_bucket(value)
        self.buckets[index] = self.buckets.get(index, 0) + 1
        self.count += 1
        self.total += max(value, 0.0)

    def merge(self, other: "Sketch") -> None:
        """Adds the values of `other`."""
        self.count += other.count
        self.total += other.total
        for index, number in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + number

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The value that `share` of the values do not exceed, to within 4.5 %; None without values."""
        rank = max(1, math.ceil(share * self.count))
        for index, below in self._cumulated():
            if below >= rank:
                return 2 ** ((index - 0.5) / BUCKETS_PER_DOUBLING)
        return None

    def counts_up_to(self, powers: Sequence[int]) -> Iterator[int]:
        """How many values are at most 2^power, for each of the ascending powers. Exact, except for rounding."""
        ordered = self._cumulated()
        index, below = next(ordered, (None, 0))
        counted = 0
        for power in powers:
            while index is not None and index <= power * BUCKETS_PER_DOUBLING:
                counted = below
                index, below = next(ordered, (None, below))
            yield counted

    def _cumulated(self) -> Iterator[tuple[int, int]]:
        below = 0
        for index in sorted(self.buckets):
            below += self.buckets[index]
            yield index, below


def find_bucket(value: float) -> int:
    """The index of the bucket of a value."""
    if value <= 0:
        return MIN_INDEX
    return min(max(math.ceil(math.log2(value) * BUCKETS_PER_DOUBLING), MIN_INDEX), MAX_INDEX)
