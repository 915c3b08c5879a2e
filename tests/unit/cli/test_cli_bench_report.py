"""The report on the measured times of clips."""

import io

import pytest
from rich.console import Console

from builders import make_reel
from phoenix.cli.bench.report import BenchReport, Machine, PeakMemory, bench_lines, bench_table, make_report
from phoenix.contract import ClipTimings


def timings(denoise_s: float | None, **stages: float) -> ClipTimings:
    return ClipTimings(denoise_s=denoise_s, total_s=9, **stages)


def report(*clips: ClipTimings, elapsed_s: float = 60) -> BenchReport:
    return make_report(
        Machine(device="cuda:0", name="NVIDIA \x1b[2JH200"),
        make_reel("a fox", steps=4, resolution="240p"),
        warm_up=timings(80, load_s=30.5),
        clips=clips,
        elapsed_s=elapsed_s,
        memory=PeakMemory(peak_bytes=17_340_000_000, of="device"),
    )


def test_clips_an_hour_come_from_the_time_that_all_of_them_took():
    assert report(timings(4), timings(4), timings(4), elapsed_s=20).clips_per_hour == pytest.approx(540)


def test_the_time_of_a_step_is_that_of_the_clip_in_the_middle_and_not_of_the_warm_up():
    assert report(timings(4), timings(100), timings(8)).seconds_per_step == 2


def test_an_engine_that_names_no_steps_has_no_time_for_one():
    assert report(timings(None)).seconds_per_step is None


def test_the_lines_show_device_shape_speed_and_memory():
    assert list(bench_lines(report(timings(4)))) == [
        "animatic on cuda:0 (NVIDIA  [2JH200)",
        "  clip      426x240, 16 frames at 16 fps, 4 steps",
        "  speed     60.0 clips an hour, 1.000 s a step",
        "  memory    17.3 GB of the device at most",
    ]


def test_the_table_has_the_stages_of_each_clip_with_a_dash_for_missing_stages():
    written = io.StringIO()
    Console(file=written, width=120).print(bench_table(report(timings(4, encode_s=1.25))))
    _, warm_up, clip = written.getvalue().splitlines()
    assert warm_up.split() == ["warm-up", "30.500", "-", "80.000", "-", "-", "9.000", "20.000"]
    assert clip.split() == ["1", "-", "-", "4.000", "-", "1.250", "9.000", "1.000"]
