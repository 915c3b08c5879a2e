"""A burst: many reels that arrive at the same moment, on a fleet of a fixed size. Pure."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from phoenix.cli.bench.report import quantile
from phoenix.cli.capacity.fleet import HOURS_A_MONTH
from phoenix.cli.capacity.simulation import (
    SEED,
    KeyCount,
    SimulatedReels,
    draw_clips,
    simulate,
)
from phoenix.cli.console import format_seconds
from phoenix.contract import View

_CHART_ROWS, _CHART_WIDTH = 12, 40


@dataclass(frozen=True)
class Burst:
    """Reels that all arrive at once."""

    reels: int
    clips: int
    """Clips of each reel."""
    clip_s: float
    """Mean seconds that a clip occupies its slot."""
    spread: float = 0.0
    """As in `Workload`."""
    after_s: float = 0.0
    """Seconds from the end of the last clip on its slot to the file of the reel."""

    @property
    def work_s(self) -> float:
        """Seconds that all clips together occupy slots."""
        return self.reels * self.clips * self.clip_s


class FinishedReels(View):
    """How many reels are ready after some seconds."""

    after_s: float
    reels: int


class BurstReport(View):
    """The result of `phoenix capacity --burst`."""

    burst: Burst
    workers: int
    slots: int
    even_s: float
    """Seconds if the work could be divided evenly among the slots: never less than a clip."""
    last_s: float
    """Seconds until the last reel is ready. A slot renders whole clips, so the last round may leave slots idle."""
    ready_p50_s: float
    ready_p95_s: float
    rounds: int
    """The most clips that one slot renders one after the other, if all clips are equal."""
    worker_s: float
    """Seconds of all workers during `even_s`, busy or not: a fleet that starts and ends with the burst costs them."""
    per_hour: float | None
    """Price of the fleet, in any currency. None without a price; also in the next two."""
    per_month: float | None
    per_burst: float | None
    """Price of `worker_s`."""
    finished: list[FinishedReels]


def size_burst(
    burst: Burst, *, workers: int, slots_per_worker: int, keys: KeyCount, price_per_hour: float | None
) -> BurstReport:
    """How a fleet copes with a burst."""
    slots = workers * slots_per_worker
    ready_s = [rendered_s + burst.after_s for rendered_s in simulate(_draw(burst), slots, keys, warm_up=0).rendered_s]
    even_s = max(burst.work_s / slots, burst.clip_s) + burst.after_s
    return BurstReport(
        burst=burst,
        workers=workers,
        slots=slots,
        even_s=even_s,
        last_s=ready_s[-1],
        ready_p50_s=quantile(ready_s, 0.5),
        ready_p95_s=quantile(ready_s, 0.95),
        rounds=math.ceil(burst.reels * burst.clips / slots),
        worker_s=workers * even_s,
        per_hour=price_per_hour and workers * price_per_hour,
        per_month=price_per_hour and workers * price_per_hour * HOURS_A_MONTH,
        per_burst=price_per_hour and workers * even_s * price_per_hour / 3600,
        finished=list(_count_finished(ready_s)),
    )


def fewest_workers(burst: Burst, *, ready_s: float, slots_per_worker: int, keys: KeyCount) -> int | None:
    """The fewest workers with which the last reel is ready in time; None if no number is enough."""

    def is_enough(workers: int) -> bool:
        waits = simulate(_draw(burst), workers * slots_per_worker, keys, warm_up=0)
        return waits.rendered_s[-1] + burst.after_s <= ready_s

    low, high = 1, math.ceil(burst.reels * burst.clips / slots_per_worker)
    if not is_enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low


def burst_lines(report: BurstReport) -> Iterator[str]:
    """The report for people, with a chart."""
    burst = report.burst
    reels, clips = counted(burst.reels, "reel"), counted(burst.clips, "clip")
    yield f"{reels} of {clips} of {format_seconds(burst.clip_s)} at once: {burst.work_s:,.0f} s on slots"
    sizes = [counted(report.workers, "worker"), counted(report.slots, "slot"), counted(report.rounds, "round")]
    yield "  fleet     {} with {}, in {} of clips".format(*sizes)
    yield f"  evenly    {report.even_s:,.0f} s, if the work could be divided evenly among the slots"
    yield f"  last      the last reel is ready after {report.last_s:,.0f} s ({format_seconds(report.last_s)})"
    yield f"  a reel    half of them within {report.ready_p50_s:,.0f} s, 95 of 100 within {report.ready_p95_s:,.0f} s"
    yield f"  paid for  {report.worker_s:,.0f} seconds of workers"
    if report.per_hour is not None:
        hour, month = f"{report.per_hour:,.2f} an hour", f"{report.per_month:,.2f} a month"
        yield f"  cost      {hour}, {month}, {report.per_burst:,.4f} a burst"
    yield ""
    for each in report.finished:
        bar = "█" * round(_CHART_WIDTH * each.reels / burst.reels)
        yield f"  {each.after_s:>8,.0f} s  {bar:<{_CHART_WIDTH}}  {each.reels:,} ready"


def counted(number: int, name: str) -> str:
    """`1 clip`, `1,200 clips`."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _draw(burst: Burst) -> SimulatedReels:
    rng = random.Random(SEED)
    clips = [list(draw_clips(rng, burst.clip_s, burst.spread, burst.clips)) for _ in range(burst.reels)]
    return SimulatedReels([0.0] * burst.reels, clips)


def _count_finished(ready_s: Sequence[float]) -> Iterator[FinishedReels]:
    """How many reels are ready, at the moments at which that changes or, with many of these, at equal intervals."""
    moments = sorted({round(each, 3) for each in ready_s})
    if len(moments) > _CHART_ROWS:
        moments = [ready_s[-1] * row / _CHART_ROWS for row in range(1, _CHART_ROWS + 1)]
    for moment in moments:
        yield FinishedReels(after_s=moment, reels=sum(each <= moment + 0.001 for each in ready_s))
