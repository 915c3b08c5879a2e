"""Arrangements of processes, devices and batches on one machine, and what was measured of each. Measures nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from phoenix.cli.bench.report import PeakMemory, quantile
from phoenix.cli.console import format_gigabytes, printable
from phoenix.contract import ResolvedReel, View


@dataclass(frozen=True)
class Arrangement:
    """A process for each entry of `devices`, which makes at most `batch` clips in one call of the model."""

    name: str
    devices: tuple[str, ...]
    batch: int = 1

    @property
    def places(self) -> int:
        """The number of clips that can be under way at a time."""
        return len(self.devices) * self.batch


def list_arrangements(devices: Sequence[str], *, processes: int, batch: int) -> list[Arrangement]:
    """The arrangements that differ here: several devices need two of them, and batches a `batch` above 1."""
    first = devices[0]
    each = tuple(device for device in devices for _ in range(processes))
    candidates = [
        Arrangement("one at a time", (first,)),
        Arrangement("batched", (first,), batch),
        Arrangement("several processes", (first,) * processes),
        Arrangement("several devices", tuple(devices)),
        Arrangement("hybrid", each, batch),
    ]
    kept: list[Arrangement] = []
    for candidate in candidates:
        if all((candidate.devices, candidate.batch) != (one.devices, one.batch) for one in kept):
            kept.append(candidate)
    return kept


class ArrangementReport(View):
    """What the clients of one arrangement saw. `latency`: seconds from the request for a clip to its file.

    `memory` is the sum over the processes; on a CPU, pages that they share count for each process. Without clips,
    `failure` says why the arrangement cannot be used.
    """

    name: str
    devices: list[str]
    batch: int
    clips: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    clips_per_hour: float | None
    memory: PeakMemory | None
    failure: str | None = None


class ArrangementsReport(View):
    """All arrangements of one model and shape. `clients`: each of them asks for its next clip when it has the last."""

    reel: ResolvedReel
    clients: int
    arrangements: list[ArrangementReport]


def report_arrangement(
    arrangement: Arrangement, latencies_s: Sequence[float], elapsed_s: float, memory: PeakMemory
) -> ArrangementReport:
    """The report on clips that were made within `elapsed_s` together."""
    ordered = sorted(latencies_s)
    return ArrangementReport(
        name=arrangement.name,
        devices=list(arrangement.devices),
        batch=arrangement.batch,
        clips=len(ordered),
        latency_p50_s=quantile(ordered, 0.5),
        latency_p95_s=quantile(ordered, 0.95),
        latency_p99_s=quantile(ordered, 0.99),
        clips_per_hour=3600 * len(ordered) / elapsed_s,
        memory=memory,
    )


def report_failure(arrangement: Arrangement, failure: str) -> ArrangementReport:
    """The report on an arrangement that cannot be used, for example because its memory is short."""
    return ArrangementReport(
        name=arrangement.name,
        devices=list(arrangement.devices),
        batch=arrangement.batch,
        clips=0,
        latency_p50_s=None,
        latency_p95_s=None,
        latency_p99_s=None,
        clips_per_hour=None,
        memory=None,
        failure=failure,
    )


def arrangement_lines(report: ArrangementsReport) -> Iterator[str]:
    """Lines about all arrangements together."""
    clip = report.reel.clips[0]
    shape = f"{clip.width}x{clip.height}, {clip.num_frames} frames at {clip.fps} fps, {clip.steps} steps"
    yield f"{report.reel.model}: {shape}; {report.clients} clients at a time"
    for each in report.arrangements:
        if each.failure is not None:
            yield f"  {each.name}: {printable(each.failure)}"


def arrangement_table(report: ArrangementsReport) -> Table:
    """A line per arrangement, compared with the first one."""
    headings = ("arrangement", "processes", "batch", "p50 s", "p95 s", "p99 s", "clips/h", "gain", "memory")
    table = Table(*headings, box=None, pad_edge=False)
    first = report.arrangements[0].clips_per_hour
    for each in report.arrangements:
        latencies = [_number(value) for value in (each.latency_p50_s, each.latency_p95_s, each.latency_p99_s)]
        gain = each.clips_per_hour / first if each.clips_per_hour and first else None
        memory = format_gigabytes(each.memory.peak_bytes) if each.memory else "-"
        rate = "-" if each.clips_per_hour is None else f"{each.clips_per_hour:,.0f}"
        table.add_row(each.name, str(len(each.devices)), str(each.batch), *latencies, rate, _number(gain), memory)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
