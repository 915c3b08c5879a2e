"""The distribution of many durations or sizes in a few counters, which can be added up. Pure.

Each bucket is 9 % wider than the bucket below it: eight buckets per doubling, as in Prometheus's native histograms of
schema 3. So a percentile is known to within 4.5 %, of any number of merged sketches.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from typing import Any

BUCKETS_PER_DOUBLING = 8
MIN_INDEX = -10 * BUCKETS_PER_DOUBLING
"""Everything below a thousandth counts as a thousandth."""

MAX_INDEX = 50 * BUCKETS_PER_DOUBLING

# Rounded once: a month of hours has 20,000 percentiles to show.
_MIDDLES = tuple(round(2 ** ((index - 0.5) / BUCKETS_PER_DOUBLING), 4) for index in range(MIN_INDEX, MAX_INDEX + 1))


@dataclass(slots=True)
class Sketch:
    """Counts by bucket, from the bucket `first` on. Bucket `i` has the values above 2^((i-1)/8) and up to 2^(i/8)."""

    count: int = 0
    total: float = 0.0
    first: int = 0
    counts: list[int] = field(default_factory=list[int])
    _known: Sequence[float] = field(default=(), compare=False)
    """The percentiles as they were stored; empty once a value was added."""

    @classmethod
    def of(cls, *values: float) -> "Sketch":
        sketch = cls()
        for value in values:
            sketch.add(value)
        return sketch

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Sketch":
        """The sketch that `as_document` wrote. It takes over the lists of the document.

        The previous version stored no percentiles.
        """
        return cls(document["n"], document["s"], document["f"], document["b"], document.get("p", ()))

    def as_document(self) -> dict[str, Any]:
        """The sketch as JSON, with the percentiles: a period is read far more often than it changes."""
        return {"n": self.count, "s": self.total, "f": self.first, "b": self.counts, "p": self.percentiles()}

    def add(self, value: float) -> None:
        """Counts a value. A negative value counts as 0."""
        index = find_bucket(value)
        self._known = ()
        self._cover(index, index + 1)
        self.counts[index - self.first] += 1
        self.count += 1
        self.total += max(value, 0.0)

    def merge(self, other: "Sketch") -> None:
        """Adds the values of `other`."""
        self._known = ()
        self.count += other.count
        self.total += other.total
        if other.counts:
            self._cover(other.first, other.first + len(other.counts))
            start = other.first - self.first
            end = start + len(other.counts)
            self.counts[start:end] = map(add, self.counts[start:end], other.counts)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def percentiles(self) -> Sequence[float]:
        """The 50th, the 95th and the 99th; nothing without values."""
        return self._known or self.quantiles(0.5, 0.95, 0.99)

    def quantiles(self, *shares: float) -> tuple[float, ...]:
        """The values that these shares of the values do not exceed, to within 4.5 %; nothing without values.

        Rounded to four decimals.
        """
        if not self.count:
            return ()
        below, offset = list(accumulate(self.counts)), self.first - MIN_INDEX
        ranks = [math.ceil(share * self.count) or 1 for share in shares]
        return tuple([_MIDDLES[offset + bisect_left(below, rank)] for rank in ranks])

    def counts_up_to(self, powers: Sequence[int]) -> Iterator[int]:
        """How many values are at most 2^power, for each of the powers. Exact, except for rounding."""
        below = [0, *accumulate(self.counts)]
        for power in powers:
            buckets = power * BUCKETS_PER_DOUBLING - self.first + 1
            yield below[min(max(buckets, 0), len(self.counts))]

    def _cover(self, first: int, end: int) -> None:
        """Adds empty buckets, so that those from `first` to before `end` are there."""
        if not self.counts:
            self.first = first
        missing = self.first - first
        if missing > 0:
            self.counts[:0] = [0] * missing
            self.first = first
        self.counts.extend([0] * (end - self.first - len(self.counts)))


def find_bucket(value: float) -> int:
    """The index of the bucket of a value."""
    if value <= 0:
        return MIN_INDEX
    return min(max(math.ceil(math.log2(value) * BUCKETS_PER_DOUBLING), MIN_INDEX), MAX_INDEX)
