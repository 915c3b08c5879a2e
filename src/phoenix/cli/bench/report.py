"""The results of a benchmark, for people and for programs. Measures nothing."""

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Literal

from rich.table import Table

from phoenix.cli.console import format_gigabytes, printable
from phoenix.contract import ClipTimings, ResolvedReel, View

STAGES = ("load", "text", "denoise", "decode", "encode", "total")


class PeakMemory(View):
    """The highest memory in use, of the device or of this process."""

    peak_bytes: int
    of: Literal["device", "process"]


class Machine(View):
    """A device by the name that a worker takes (`cuda:0`), and by the name of its maker."""

    device: str
    name: str


class BenchReport(View):
    """The speed of one model on one machine.

    All clips have the parameters of the only clip in `reel`. `warm_up` is the first clip, which loaded the model.
    """

    machine: Machine
    reel: ResolvedReel
    warm_up: ClipTimings
    clips: list[ClipTimings]
    seconds_per_step: float | None
    clips_per_hour: float
    memory: PeakMemory


def make_report(
    machine: Machine,
    reel: ResolvedReel,
    *,
    warm_up: ClipTimings,
    clips: Sequence[ClipTimings],
    elapsed_s: float,
    memory: PeakMemory,
) -> BenchReport:
    """`elapsed_s`: from the start of the first of `clips` to the file of the last one."""
    steps_s = [step_s for timings in clips if (step_s := _step_s(timings, reel)) is not None]
    return BenchReport(
        machine=machine,
        reel=reel,
        warm_up=warm_up,
        clips=list(clips),
        seconds_per_step=median(steps_s) if steps_s else None,
        clips_per_hour=3600 * len(clips) / elapsed_s,
        memory=memory,
    )


def bench_lines(report: BenchReport) -> Iterator[str]:
    """Lines about all clips together."""
    clip = report.reel.clips[0]
    yield f"{report.reel.model} on {report.machine.device} ({printable(report.machine.name)})"
    yield f"  clip      {clip.width}x{clip.height}, {clip.num_frames} frames at {clip.fps} fps, {clip.steps} steps"
    yield f"  speed     {report.clips_per_hour:,.1f} clips an hour, {_seconds(report.seconds_per_step)} s a step"
    yield f"  memory    {format_gigabytes(report.memory.peak_bytes)} of the {report.memory.of} at most"


def bench_table(report: BenchReport) -> Table:
    """Seconds per stage, one line per clip."""
    table = Table("clip", *(f"{stage} s" for stage in STAGES), "step s", box=None, pad_edge=False)
    rows = [
        ("warm-up", report.warm_up),
        *((str(number), timings) for number, timings in enumerate(report.clips, start=1)),
    ]
    for name, timings in rows:
        elapsed_s: dict[str, float | None] = timings.model_dump()
        cells = [_seconds(elapsed_s[f"{stage}_s"]) for stage in STAGES]
        table.add_row(name, *cells, _seconds(_step_s(timings, report.reel)))
    return table


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest entry of `ordered` that at least `share` of the entries do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _step_s(timings: ClipTimings, reel: ResolvedReel) -> float | None:
    return None if timings.denoise_s is None else timings.denoise_s / reel.clips[0].steps


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f}"
