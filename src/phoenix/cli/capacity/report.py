"""The report on a sized fleet, for people and for programs. Computes nothing."""

from collections.abc import Iterator

from rich.table import Column, Table

from phoenix.cli.capacity.burst import counted
from phoenix.cli.capacity.fleet import HOURS_A_MONTH, Cost, Fleet, FleetVerdict, Promise, ReelTimes
from phoenix.cli.capacity.simulation import KeyCount, Workload
from phoenix.cli.console import format_seconds
from phoenix.contract import View

STYLES = {
    FleetVerdict.KEEPS: None,
    FleetVerdict.LATE: "yellow",
    FleetVerdict.NO_RESERVE: "yellow",
    FleetVerdict.OVERLOADED: "red",
}


class CapacityReport(View):
    """The result of `phoenix capacity`. `workers` is the fewest workers; `fleets` has that size and its neighbours."""

    load: Workload
    promise: Promise
    keys: KeyCount
    workers: int
    is_given: bool = False
    """Whether `workers` was given, and is not the fewest that keep the promise."""
    busy_slots: float
    """Busy slots of GPU workers, on average."""
    busy_media_slots: float
    """Busy slots of media workers, which join the reels."""
    idle: ReelTimes
    """Times of reels that find all slots of these workers free."""
    by_other_turns: ReelTimes
    """Times with the same workers and the other value of `keys`."""
    fleets: list[Fleet]

    @property
    def chosen(self) -> Fleet:
        """The smallest fleet that keeps the promise."""
        return next(fleet for fleet in self.fleets if fleet.workers == self.workers)


def capacity_lines(report: CapacityReport) -> Iterator[str]:
    """Lines about the fleet that keeps the promise."""
    load, fleet = report.load, report.chosen
    clips = f"{counted(load.clips, 'clip')} of {format_seconds(load.clip_s)} each"
    yield f"{load.reels_per_hour:,.10g} reels an hour, {clips}: {report.busy_slots:.2f} slots are busy on average"
    yield f"  workers   {fleet.workers}, with {counted(fleet.slots, 'slot')}, busy {fleet.utilisation:.0%} of the time"
    if fleet.times is not None:
        yield f"  promise   95 of 100 reels {_describe_times(fleet.times, report.promise)}"
        idle, loaded = format_seconds(report.idle.ready_p50_s), format_seconds(fleet.times.ready_p50_s)
        yield f"  a reel    half of them take up to {idle} on the idle fleet, and up to {loaded} under this load"
    yield f"  at most   {fleet.most_reels_per_hour:,.1f} reels, or {fleet.most_clips_per_hour:,.1f} clips, an hour"
    yield f"  turns     with --keys {report.keys.other}, 95 of 100 {_describe_times(report.by_other_turns)}"
    yield f"  joining   keeps {report.busy_media_slots:.2f} slots of media workers busy"
    if fleet.cost is not None:
        yield f"  cost      {_describe(fleet.cost)}"


def fleets_table(report: CapacityReport) -> Table:
    """One line per size of the fleet. 95 of 100 reels get there within the times."""
    prices = () if report.chosen.cost is None else ("an hour", "a reel")
    names = ("workers", "busy", "1st clip", "last clip", "ready", *prices)
    table = Table(*(Column(name, no_wrap=True) for name in names), "", box=None, pad_edge=False)
    for fleet in report.fleets:
        is_chosen = fleet.workers == report.workers
        table.add_row(
            str(fleet.workers),
            f"{fleet.utilisation:.0%}",
            *_time_cells(fleet.times),
            *_cost_cells(fleet.cost),
            "the fewest" if is_chosen and not report.is_given else fleet.verdict.value,
            style="bold" if is_chosen else STYLES[fleet.verdict],
        )
    return table


def _time_cells(times: ReelTimes | None) -> Iterator[str]:
    for seconds in (None, None, None) if times is None else (times.queue_p95_s, times.wait_p95_s, times.ready_p95_s):
        yield format_seconds(seconds)


def _cost_cells(cost: Cost | None) -> tuple[str, ...]:
    return () if cost is None else (_money(cost.per_hour), _money(cost.per_reel))


def _describe_times(times: ReelTimes, promise: Promise | None = None) -> str:
    asked = promise or Promise()
    begun = f"within {format_seconds(times.wait_p95_s)}{_asked(asked.wait_s)}"
    ready = f"within {format_seconds(times.ready_p95_s)}{_asked(asked.ready_s)}"
    return f"have begun their last clip {begun}, and are ready {ready}"


def _asked(limit_s: float | None) -> str:
    return "" if limit_s is None else f" (asked for: {format_seconds(limit_s)})"


def _describe(cost: Cost) -> str:
    text = f"{_money(cost.per_hour)} an hour, {_money(cost.per_month)} a month of {HOURS_A_MONTH} hours, "
    text += f"{_money(cost.per_reel)} a reel"
    return text if cost.per_video_minute is None else f"{text}, {_money(cost.per_video_minute)} a minute of video"


def _money(amount: float) -> str:
    """An amount, with more digits below 10."""
    return f"{amount:,.2f}" if amount >= 10 else f"{amount:.4f}"
