"""The command `phoenix capacity`: options in, a report out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import BinaryIO

import typer
from pydantic import BaseModel, ValidationError
from rich.table import Table

from phoenix.cli.bench.report import BenchReport
from phoenix.cli.capacity.burst import Burst, BurstReport, burst_lines, fewest_workers, size_burst
from phoenix.cli.capacity.fleet import Price, Promise, PromiseImpossible, Trials
from phoenix.cli.capacity.options import (
    AssemblyOption,
    BenchOption,
    BurstOption,
    ClipSecondsOption,
    ClipsOption,
    FinishOption,
    JsonOption,
    KeysOption,
    PriceOption,
    ReadyOption,
    ReelsPerHourOption,
    SlotsOption,
    SpreadOption,
    VideoOption,
    WaitOption,
    WorkersOption,
)
from phoenix.cli.capacity.report import CapacityReport, capacity_lines, fleets_table
from phoenix.cli.capacity.simulation import KeyCount, Workload
from phoenix.cli.console import format_seconds, out, print_json, printable


class InvalidBenchReport(Exception):
    """The document is not a report of `phoenix bench --json`, or has no speed."""


@dataclass(frozen=True)
class KnownClip:
    """Measured times of a clip, in seconds."""

    clip_s: float
    """From the start of a clip to the start of the next clip on the same slot."""
    finish_s: float = 0.0
    """From the end of a clip on its slot to its file. Meanwhile the slot renders the next clip."""
    duration_s: float | None = None
    """Length of the clip as video."""


def read_bench(document: bytes) -> KnownClip:
    """Reads the output of `phoenix bench --json`. Raises `InvalidBenchReport`."""
    try:
        report = BenchReport.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidBenchReport(f"/{'/'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not (report.clips_per_hour > 0 and math.isfinite(report.clips_per_hour)):
        raise InvalidBenchReport("/clips_per_hour: not a speed")
    clip_s = 3600 / report.clips_per_hour
    totals_s = [timings.total_s for timings in report.clips if timings.total_s is not None]
    return KnownClip(
        clip_s=clip_s,
        finish_s=max(0.0, median(totals_s) - clip_s) if totals_s else 0.0,
        duration_s=report.reel.clips[0].duration_s,
    )


BURST_CLIP_S, STEADY_SPREAD, STEADY_ASSEMBLY_S = 60.0, 0.25, 6.0
MOST_CLIPS_AT_ONCE = 200_000
MOST_BUSY_SLOTS = 2000
"""The largest load that is simulated within about a second."""


def capacity(  # noqa: PLR0913, PLR0917 - one parameter per option
    reels_per_hour: ReelsPerHourOption = None,
    clips: ClipsOption = 1,
    burst: BurstOption = None,
    workers: WorkersOption = None,
    clip_s: ClipSecondsOption = None,
    bench: BenchOption = None,
    wait_s: WaitOption = None,
    ready_s: ReadyOption = None,
    finish_s: FinishOption = None,
    assembly_s: AssemblyOption = None,
    spread: SpreadOption = None,
    keys: KeysOption = KeyCount.ONE_KEY,
    slots_per_worker: SlotsOption = 1,
    price_per_hour: PriceOption = None,
    duration_s: VideoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute how many GPU workers a load needs, and their cost, without a server.

    The queue is simulated. Equal options give equal results. Assumptions:

    Reels arrive at random and independently (Poisson), each with all its clips; with --burst, all at the same moment.

    Clips of a reel render in parallel; their seconds are gamma distributed.

    Every worker holds the model, no worker fails, and there are always enough media workers.
    """
    if (reels_per_hour is None) == (burst is None):
        raise typer.BadParameter("give the load either here or with --burst.", param_hint="--reels-per-hour")
    is_seed = burst is not None and clip_s is None and bench is None
    known = KnownClip(BURST_CLIP_S) if is_seed else _known_clip(clip_s, bench)
    finish_s = known.finish_s if finish_s is None else finish_s
    if burst is not None:
        arrived = Burst(burst, clips, known.clip_s, spread or 0.0, finish_s + (assembly_s or 0.0))
        sized = _size_burst(arrived, workers, ready_s, slots_per_worker, keys, price_per_hour)
        _print(sized, burst_lines(sized), as_json=as_json)
        return
    load = Workload(
        reels_per_hour=reels_per_hour or 0.0,
        clips=clips,
        clip_s=known.clip_s,
        spread=STEADY_SPREAD if spread is None else spread,
        finish_s=finish_s,
        assembly_s=STEADY_ASSEMBLY_S if assembly_s is None else assembly_s,
    )
    price = _price(price_per_hour, clips, duration_s or known.duration_s)
    promise = _promise(wait_s, ready_s, is_needed=workers is None)
    report = size(load, promise, keys, slots_per_worker=slots_per_worker, price=price, workers=workers)
    _print(report, _lines_of(report), as_json=as_json)


def _lines_of(report: CapacityReport) -> Iterator[str | Table]:
    yield from capacity_lines(report)
    yield "\nTimes within which 95 of 100 reels have begun their first and last clip, and are ready:"
    yield fleets_table(report)


def _print(report: BaseModel, lines: Iterator[str | Table] | Iterator[str], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for line in lines:
        out.print(line)


def _size_burst(
    burst: Burst,
    workers: int | None,
    ready_s: float | None,
    slots_per_worker: int,
    keys: KeyCount,
    price_per_hour: float | None,
) -> BurstReport:
    if burst.reels * burst.clips > MOST_CLIPS_AT_ONCE:
        reason = f"a burst of more than {MOST_CLIPS_AT_ONCE:,} clips is not simulated."
        raise typer.BadParameter(reason, param_hint="--burst")
    if workers is None:
        if ready_s is None:
            reason = "give the size of the fleet, or with --ready-s when the last reel must be ready."
            raise typer.BadParameter(reason, param_hint="--workers")
        workers = fewest_workers(burst, ready_s=ready_s, slots_per_worker=slots_per_worker, keys=keys)
        if workers is None:
            reason = "with a slot for every clip, the last reel takes longer: no fleet is faster."
            raise typer.BadParameter(reason, param_hint="--ready-s")
    return size_burst(
        burst, workers=workers, slots_per_worker=slots_per_worker, keys=keys, price_per_hour=price_per_hour
    )


def size(
    load: Workload,
    promise: Promise,
    keys: KeyCount,
    *,
    slots_per_worker: int,
    price: Price | None,
    workers: int | None = None,
) -> CapacityReport:
    """The report for a load, and for a fleet of `workers`, or else for the smallest that keeps the promise.

    Raises `typer.BadParameter` for a load too large to simulate, or an impossible promise."""
    if load.busy_slots > MOST_BUSY_SLOTS:
        reason = f"the load keeps {load.busy_slots:,.0f} slots busy; at most {MOST_BUSY_SLOTS:,} can be simulated."
        raise typer.BadParameter(reason, param_hint="--reels-per-hour")
    trials = Trials(load, promise, keys, slots_per_worker=slots_per_worker, price=price)
    is_given = workers is not None
    try:
        workers = workers or trials.find_fewest()
    except PromiseImpossible as error:
        reason = f"without any wait, 95 of 100 reels take up to {format_seconds(error.ready_s)}: no fleet is faster."
        raise typer.BadParameter(reason, param_hint="--ready-s") from error
    return CapacityReport(
        load=load,
        promise=promise,
        keys=keys,
        workers=workers,
        is_given=is_given,
        busy_slots=load.busy_slots,
        busy_media_slots=load.reels_per_hour / 3600 * load.assembly_s,
        idle=trials.idle_times(workers),
        by_other_turns=trials.times_by(keys.other, workers),
        fleets=[trials.describe(size) for size in _neighbours(workers)],
    )


def _neighbours(workers: int) -> Iterator[int]:
    """The sizes from one worker fewer, but at least one worker, to two workers more."""
    yield from range(max(1, workers - 1), workers + 3)


def _known_clip(clip_s: float | None, bench: BinaryIO | None) -> KnownClip:
    if clip_s is not None and bench is None:
        return KnownClip(clip_s)
    if clip_s is None and bench is not None:
        return _read(bench)
    raise typer.BadParameter("give the seconds of a clip either here or with --from.", param_hint="--clip-s")


def _read(bench: BinaryIO) -> KnownClip:
    try:
        return read_bench(bench.read())
    except InvalidBenchReport as error:
        reason = f"not what `phoenix bench --json` prints: {printable(str(error))}"
        raise typer.BadParameter(reason, param_hint="--from") from error


def _promise(wait_s: float | None, ready_s: float | None, *, is_needed: bool) -> Promise:
    if is_needed and wait_s is None and ready_s is None:
        raise typer.BadParameter("give a promise, here or with --ready-s.", param_hint="--wait-s")
    return Promise(wait_s=wait_s, ready_s=ready_s)


def _price(per_hour: float | None, clips: int, duration_s: float | None) -> Price | None:
    if per_hour is None:
        return None
    return Price(per_hour, video_s=None if duration_s is None else clips * duration_s)
