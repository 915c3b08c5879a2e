"""The figures of one period: counters, and the distributions of durations and of memory. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from phoenix.jobs.history.measurements import NONE, Measurement
from phoenix.jobs.history.sketch import Sketch

ALL_TIME_S = 0
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
RESOLUTIONS_S = (MINUTE_S, HOUR_S, DAY_S)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EVERYTHING = "everything"
"""The subject of what all subjects, queues, kinds and models add up to in a period."""

MAX_PREFIX = "max_"
"""Counters with this prefix are not added up: the larger one is kept."""


@dataclass(frozen=True)
class StatsKey:
    """Which period of what: the primary key of a `StatsRow`."""

    resolution_s: int
    starts_at: datetime
    subject: str
    name: str
    model: str = NONE
    shape: str = ""


@dataclass
class Figures:
    """Counters by name, and sketches by name, in seconds or bytes."""

    counts: dict[str, float] = field(default_factory=dict[str, float])
    sketches: dict[str, Sketch] = field(default_factory=dict[str, Sketch])

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Figures":
        """The figures that `as_document` wrote."""
        sketches = {name: Sketch.from_document(each) for name, each in document["sketches"].items()}
        return cls(dict(document["counts"]), sketches)

    def as_document(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {
            "counts": self.counts,
            "sketches": {name: sketch.as_document() for name, sketch in self.sketches.items()},
        }

    def merge(self, other: "Figures") -> None:
        """Adds the figures of another period, or of other work in the same period."""
        for name, value in other.counts.items():
            self.count(name, value)
        for name, sketch in other.sketches.items():
            self.sketches.setdefault(name, Sketch()).merge(sketch)

    def count(self, name: str, value: float = 1) -> None:
        """Adds to a counter; of a counter with the prefix `max_`, keeps the larger value."""
        known = self.counts.get(name, 0)
        self.counts[name] = max(known, value) if name.startswith(MAX_PREFIX) else known + value

    def observe(self, name: str, value: float | None) -> None:
        """Adds a value to a sketch; None adds nothing."""
        if value is not None:
            self.sketches.setdefault(name, Sketch()).add(value)

    def with_prefix(self, prefix: str) -> dict[str, float]:
        """Counters by the rest of their names."""
        return {name[len(prefix) :]: n for name, n in self.counts.items() if name.startswith(prefix)}


def start_of(at: datetime, resolution_s: int) -> datetime:
    """The start of the period that `at` is in."""
    if resolution_s == ALL_TIME_S:
        return EPOCH
    passed_s = (at - EPOCH) // timedelta(seconds=resolution_s) * resolution_s
    return EPOCH + timedelta(seconds=passed_s)


def figures_of(found: Measurement) -> Figures:
    """What one attempt or job adds to a period."""
    figures = Figures()
    figures.count(f"outcome:{found.outcome}")
    if found.code != NONE:
        figures.count(f"code:{found.code}")
    figures.observe("waited", found.waited_s)
    if found.subject == "job":
        figures.observe("took", found.took_s if found.outcome == "succeeded" else None)
        return figures
    is_done = found.outcome == "succeeded"
    figures.observe("took", found.took_s if is_done else None)
    figures.count("worker_s", found.took_s or 0.0)
    figures.count("device_s", found.device_s)
    for stage, seconds in found.stages.items():
        figures.observe(f"stage:{stage}", seconds if is_done or stage == "queue" else None)
    figures.observe("memory", found.peak_memory_bytes)
    return figures


def in_everything(key: StatsKey, figures: Figures) -> tuple[StatsKey, Figures]:
    """What the figures of a subject add to the figures of everything, under names that begin with the subject."""
    return StatsKey(key.resolution_s, key.starts_at, EVERYTHING, NONE), with_subject(key.subject, figures)


def with_subject(subject: str, figures: Figures) -> Figures:
    """The figures with the subject in their names: jobs and attempts are shown separately."""
    counts = {
        name if name.startswith(MAX_PREFIX) else f"{subject}:{name}": value for name, value in figures.counts.items()
    }
    return Figures(counts, {f"{subject}:{name}": sketch for name, sketch in figures.sketches.items()})


def _in_period(key: StatsKey, figures: Figures) -> Iterator[tuple[StatsKey, Figures]]:
    yield key, figures
    yield in_everything(key, figures)


def spread(found: Measurement, at: datetime) -> Iterator[tuple[StatsKey, Figures]]:
    """Each period that counts an attempt or a job that ended `at`, and what the period adds.

    A submission counts in the period in which the job was submitted.
    """
    made = figures_of(found)
    for resolution_s in RESOLUTIONS_S:
        key = StatsKey(resolution_s, start_of(at, resolution_s), found.subject, found.name, found.model)
        yield from _in_period(key, made)
    yield StatsKey(ALL_TIME_S, EPOCH, found.subject, found.name, found.model, found.shape), made
    if found.created_at is not None:
        submitted, created_at = Figures({"submitted": 1}), datetime.fromisoformat(found.created_at)
        for resolution_s in RESOLUTIONS_S:
            starts_at = start_of(created_at, resolution_s)
            key = StatsKey(resolution_s, starts_at, found.subject, found.name, found.model)
            yield from _in_period(key, submitted)


@dataclass(frozen=True)
class QueueSample:
    """The state of a queue at one time, and for how long it counts."""

    queue: str
    waiting: int
    running: int
    slots: int
    lasted_s: float
    memory_share: float | None = None
    """The largest share of the memory of a device that is in use; None without devices that have their own memory."""


def spread_sample(sample: QueueSample, at: datetime) -> Iterator[tuple[StatsKey, Figures]]:
    """Like `spread`, for a sample of a queue."""
    figures = Figures({"sampled_s": sample.lasted_s, "max_waiting": sample.waiting})
    for name in ("waiting", "running", "slots"):
        figures.count(f"{name}_s", getattr(sample, name) * sample.lasted_s)
    if sample.memory_share is not None:
        figures.count("max_memory_share", sample.memory_share)
    for resolution_s in RESOLUTIONS_S:
        yield from _in_period(StatsKey(resolution_s, start_of(at, resolution_s), "queue", sample.queue), figures)


def add_up(parts: Iterator[tuple[StatsKey, Figures]] | list[tuple[StatsKey, Figures]]) -> dict[StatsKey, Figures]:
    """The sum by period."""
    sums: dict[StatsKey, Figures] = {}
    for key, figures in parts:
        sums.setdefault(key, Figures()).merge(figures)
    return sums
