"""The figures of all time as metrics: histograms and counters of the fleet, equal on every replica."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from prometheus_client import Metric

from phoenix.jobs.history.figures import Figures, StatsKey
from phoenix.jobs.history.measurements import NONE
from phoenix.jobs.history.sketch import Sketch
from phoenix.jobs.scheduling.workers import QUEUES
from phoenix.telemetry.meters import HistogramValues, counter, histogram

SECONDS_POWERS = tuple(range(-6, 14))
"""Bounds of 2^n seconds: from a sixty-fourth of a second to more than two hours."""

BYTES_POWERS = tuple(range(28, 40))
"""Bounds of 2^n bytes: from 256 MiB to 512 GiB."""

_QUEUE_WAIT, _STAGE = "queue", "stage:"
_NO_WAITS = [((queue, NONE), Sketch()) for queue in QUEUES]
# Alerts ask for them: a rate needs a first value.
Totals = Sequence[tuple[StatsKey, Figures]]
_Labelled = tuple[tuple[str, ...], Sketch]


def show_totals(totals: Totals) -> Iterator[Metric]:
    """The metrics of what has ended since the database was made."""
    tasks = [(key, figures) for key, figures in totals if key.subject == "task"]
    jobs = [(key, figures) for key, figures in totals if key.subject == "job"]
    yield from _show_tasks(tasks)
    for name, description, sketch in (
        ("phoenix_job_seconds", "Seconds from the submission of a job to its success, by kind and model.", "took"),
        ("phoenix_job_wait_seconds", "Seconds from the submission of a job to its first task.", "waited"),
    ):
        values = ((_by_name(key), figures.sketches[sketch]) for key, figures in jobs if sketch in figures.sketches)
        yield _seconds(name, description, "kind", "model", values=values)


def _show_tasks(tasks: Totals) -> Iterator[Metric]:
    yield _seconds(
        "phoenix_task_wait_seconds",
        "Seconds from when a task could start to the start of an attempt.",
        "queue",
        "model",
        values=_sum_shapes(
            chain(_NO_WAITS, ((_by_name(key), figures.sketches.get("waited")) for key, figures in tasks))
        ),
    )
    yield _seconds(
        "phoenix_slot_wait_seconds",
        "Seconds that an attempt waited for its slot on the device, and for its model.",
        "queue",
        "model",
        values=_sum_shapes((_by_name(key), figures.sketches.get(_STAGE + _QUEUE_WAIT)) for key, figures in tasks),
    )
    yield _seconds(
        "phoenix_stage_seconds",
        "Seconds of each stage of the attempts that succeeded.",
        "stage",
        "queue",
        "model",
        values=_sum_shapes(_stages(tasks)),
    )
    yield from _show_attempts(tasks)
    yield from _count_tasks(tasks)


def _show_attempts(tasks: Totals) -> Iterator[Metric]:
    yield _seconds(
        "phoenix_attempt_seconds",
        "Seconds of the attempts that succeeded, by the class of size and length of their clip.",
        "queue",
        "model",
        "shape",
        values=(
            ((key.name, key.model, key.shape or "none"), figures.sketches["took"])
            for key, figures in tasks
            if "took" in figures.sketches
        ),
    )
    yield histogram(
        "phoenix_clip_peak_memory_bytes",
        "Peak memory of the device while a clip was rendered, with the weights. No series on a CPU.",
        "queue",
        "model",
        "shape",
        bounds=[float(2**power) for power in BYTES_POWERS],
        values=(
            ((key.name, key.model, key.shape or "none"), _cumulated(figures.sketches["memory"], BYTES_POWERS))
            for key, figures in tasks
            if "memory" in figures.sketches
        ),
    )


def _count_tasks(tasks: Totals) -> Iterator[Metric]:
    for name, description, label, prefix in (
        ("phoenix_attempts_ended_total", "Attempts that have ended, by how they ended.", "outcome", "outcome:"),
        ("phoenix_attempt_errors_total", "Attempts that have ended with an error, by its code.", "code", "code:"),
    ):
        counts: dict[tuple[str, ...], float] = {}
        for key, figures in tasks:
            for value, number in figures.with_prefix(prefix).items():
                labels = (key.name, key.model, value)
                counts[labels] = counts.get(labels, 0) + number
        yield counter(name, description, "queue", "model", label, values=sorted(counts.items()))
    seconds: dict[tuple[str, ...], float] = {}
    for key, figures in tasks:
        seconds[_by_name(key)] = seconds.get(_by_name(key), 0) + figures.counts.get("device_s", 0.0)
    yield counter(
        "phoenix_device_seconds_total",
        "Seconds in which clips had a slot on a device.",
        "queue",
        "model",
        values=sorted(seconds.items()),
    )


def _by_name(key: StatsKey) -> tuple[str, ...]:
    return key.name, key.model


def _stages(tasks: Totals) -> Iterator[tuple[tuple[str, ...], Sketch]]:
    for key, figures in tasks:
        for name, sketch in figures.sketches.items():
            if name.startswith(_STAGE) and name != _STAGE + _QUEUE_WAIT:
                yield (name.removeprefix(_STAGE), key.name, key.model), sketch


def _sum_shapes(found: Iterable[tuple[tuple[str, ...], Sketch | None]]) -> Iterator[_Labelled]:
    sums: dict[tuple[str, ...], Sketch] = {}
    for labels, sketch in found:
        if sketch is not None:
            sums.setdefault(labels, Sketch()).merge(sketch)
    yield from sorted(sums.items(), key=lambda item: item[0])


def _seconds(name: str, description: str, *labels: str, values: Iterator[_Labelled]) -> Metric:
    bounds = [2.0**power for power in SECONDS_POWERS]
    cumulated = ((label_values, _cumulated(sketch, SECONDS_POWERS)) for label_values, sketch in values)
    return histogram(name, description, *labels, bounds=bounds, values=cumulated)


def _cumulated(sketch: Sketch, powers: Sequence[int]) -> HistogramValues:
    return HistogramValues(list(sketch.counts_up_to(powers)), sketch.count, sketch.total)
