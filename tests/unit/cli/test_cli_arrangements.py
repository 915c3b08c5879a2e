"""Which arrangements of processes, devices and batches differ, and how their measurements are reported."""

import io

import pytest
from rich.console import Console

from builders import make_reel
from phoenix.cli.bench.arrangements import (
    Arrangement,
    ArrangementsReport,
    arrangement_lines,
    arrangement_table,
    list_arrangements,
    report_arrangement,
    report_failure,
)
from phoenix.cli.bench.report import PeakMemory

ALONE = Arrangement("one at a time", ("cuda:0",))


@pytest.mark.parametrize(
    ("devices", "processes", "batch", "expected"),
    [
        (["cpu"], 1, 1, ["one at a time"]),
        (["cpu"], 2, 1, ["one at a time", "several processes"]),
        (["cpu"], 1, 4, ["one at a time", "batched"]),
        (["cuda:0"], 2, 4, ["one at a time", "batched", "several processes", "hybrid"]),
        (
            ["cuda:0", "cuda:1"],
            2,
            4,
            ["one at a time", "batched", "several processes", "several devices", "hybrid"],
        ),
    ],
)
def test_only_arrangements_that_differ_are_measured(
    devices: list[str], processes: int, batch: int, expected: list[str]
) -> None:
    assert [each.name for each in list_arrangements(devices, processes=processes, batch=batch)] == expected


def test_the_hybrid_has_batches_in_each_process_of_each_device() -> None:
    hybrid = list_arrangements(["cuda:0", "cuda:1"], processes=2, batch=4)[-1]

    assert hybrid == Arrangement("hybrid", ("cuda:0", "cuda:0", "cuda:1", "cuda:1"), 4)
    assert hybrid.places == 16


def test_latencies_and_throughput_come_from_all_clips() -> None:
    memory = PeakMemory(peak_bytes=2_000_000_000, of="device")
    report = report_arrangement(ALONE, [3, 1, 2, 4], 10, memory)

    assert (report.latency_p50_s, report.latency_p95_s, report.latency_p99_s) == (2, 4, 4)
    assert report.clips_per_hour == pytest.approx(1440)


def test_the_table_compares_with_one_at_a_time_and_names_what_failed() -> None:
    memory = PeakMemory(peak_bytes=2_000_000_000, of="device")
    twice = Arrangement("several processes", ("cuda:0", "cuda:0"))
    reports = [
        report_arrangement(ALONE, [1, 1], 20, memory),
        report_arrangement(twice, [1, 1], 10, memory),
        report_failure(Arrangement("batched", ("cuda:0",), 4), "GPU_OOM: no memory left"),
    ]
    report = ArrangementsReport(reel=make_reel("a fox", steps=4, resolution="240p"), clients=2, arrangements=reports)
    shown = io.StringIO()
    Console(file=shown, width=120).print(arrangement_table(report))

    rows = [line.split() for line in shown.getvalue().splitlines()]
    assert rows[1][-3:] == ["1.00", "2.0", "GB"]
    assert rows[2][-3] == "2.00"
    assert rows[3] == ["batched", "1", "4", "-", "-", "-", "-", "-", "-"]
    assert list(arrangement_lines(report))[1] == "  batched: GPU_OOM: no memory left"
