"""`phoenix capacity` from its options to its output."""

import json
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from builders import make_reel
from phoenix.cli.app import app
from phoenix.cli.bench.report import BenchReport, Machine, PeakMemory, make_report
from phoenix.cli.capacity.command import read_bench
from phoenix.contract import ClipTimings

CAPACITY_PAGE = Path(__file__).parents[3] / "docs" / "operations" / "capacity.md"
LOAD = ("--reels-per-hour", "40", "--clips", "5")
FLEET = (*LOAD, "--clip-s", "35", "--wait-s", "60")


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["capacity", *arguments], input=stdin)


@cache
def report_of(*arguments: str) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: str, stdin: str | None = None) -> str:
    """The text of the error, without the line breaks of the terminal."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.replace("│", " ").split())


def bench(*totals_s: float, elapsed_s: float) -> BenchReport:
    return make_report(
        Machine(device="cuda:0", name="H200"),
        make_reel("a fox", steps=4, resolution="240p", duration_s=2),
        warm_up=ClipTimings(total_s=100),
        clips=[ClipTimings(total_s=total_s) for total_s in totals_s],
        elapsed_s=elapsed_s,
        memory=PeakMemory(peak_bytes=1, of="device"),
    )


def test_the_answer_is_among_its_neighbours_and_keeps_what_was_asked_for():
    report = report_of(*FLEET)
    workers = [fleet["workers"] for fleet in report["fleets"]]
    assert workers == [report["workers"] + others for others in (-1, 0, 1, 2)]
    assert report["fleets"][1]["times"]["wait_p95_s"] <= 60 < report["fleets"][0]["times"]["wait_p95_s"]


def test_the_documented_example_is_what_the_command_prints():
    _, _, example = CAPACITY_PAGE.read_text().partition("$ phoenix capacity ")
    options, _, shown = example.partition("```")[0].partition("\n")
    assert [line.rstrip() for line in run(*options.split()).stdout.splitlines()] == shown.splitlines()


def test_no_fleet_is_smaller_than_one_worker():
    report = report_of("--reels-per-hour", "1", "--clips", "8", "--clip-s", "1", "--wait-s", "60")
    assert [fleet["workers"] for fleet in report["fleets"]] == [1, 2, 3]


def test_the_table_has_a_line_per_fleet_and_marks_a_fleet_that_cannot_keep_up():
    shown = run("--reels-per-hour", "10", "--clips", "10", "--clip-s", "60", "--ready-s", "9000").stdout
    rows = [line.split() for line in shown.splitlines()[-5:]]
    assert [row[0] for row in rows] == ["workers", "1", "2", "3", "4"]
    assert (rows[1][2:], rows[2][-2:]) == (["-", "-", "-", "cannot", "keep", "up"], ["the", "fewest"])


def test_costs_are_shown_where_a_price_is_given():
    shown = run(*FLEET, "--price-per-hour", "2.5", "--duration", "5").stdout
    assert "  cost      15.00 an hour, 10,950.00 a month of 730 hours, 0.3750 a reel, 0.9000 a minute of video" in shown
    assert report_of(*FLEET)["fleets"][0]["cost"] is None


def test_the_times_by_other_keys_equal_the_times_with_that_option():
    one, many = report_of(*FLEET), report_of(*FLEET, "--keys", "many")
    assert one["by_other_turns"] == next(
        fleet["times"] for fleet in many["fleets"] if fleet["workers"] == one["workers"]
    )


def test_a_benchmark_has_the_seconds_of_a_clip_what_follows_them_and_its_length(tmp_path: Path):
    file = tmp_path / "bench.json"
    file.write_text(bench(12, 13, 14, elapsed_s=30).model_dump_json())
    report = report_of(*LOAD, "--from", str(file), "--wait-s", "60", "--price-per-hour", "3")
    assert (report["load"]["clip_s"], report["load"]["finish_s"]) == pytest.approx((10, 3))
    cost = report["fleets"][1]["cost"]
    assert cost["per_video_minute"] == pytest.approx(cost["per_reel"] * 60 / (5 * 2))


def test_a_benchmark_can_come_through_a_pipe():
    stdin = bench(12, elapsed_s=12).model_dump_json()
    result = run(*LOAD, "--from", "-", "--wait-s", "60", "--json", stdin=stdin)
    assert json.loads(result.stdout)["load"]["clip_s"] == pytest.approx(12)


def test_an_option_is_stronger_than_the_benchmark():
    stdin = bench(12, 13, elapsed_s=20).model_dump_json()
    result = run(*LOAD, "--from", "-", "--wait-s", "60", "--finish-s", "0.5", "--json", stdin=stdin)
    assert json.loads(result.stdout)["load"]["finish_s"] == 0.5


def test_a_benchmark_of_one_clip_has_nothing_left_to_follow_it():
    clip = read_bench(bench(12, elapsed_s=12).model_dump_json().encode())
    assert (clip.clip_s, clip.finish_s) == pytest.approx((12, 0))


@pytest.mark.parametrize("document", ["", "{}", "[1]", '{"clips_per_hour": "quick"}'])
def test_a_file_that_is_no_benchmark_is_refused(document: str):
    assert "Invalid value for --from: not what" in refused(*LOAD, "--from", "-", "--wait-s", "60", stdin=document)


def test_a_benchmark_without_a_speed_is_refused():
    document = bench(12, elapsed_s=12).model_copy(update={"clips_per_hour": 0.0}).model_dump_json()
    assert "/clips_per_hour" in refused(*LOAD, "--from", "-", "--wait-s", "60", stdin=document)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--reels-per-hour", "0"),
        ("--reels-per-hour", "nan"),
        ("--clips", "0"),
        ("--clips", "501"),
        ("--clip-s", "-3"),
        ("--clip-s", "inf"),
        ("--clip-s", "half a minute"),
        ("--wait-s", "-1"),
        ("--ready-s", "nan"),
        ("--assembly-s", "-1"),
        ("--finish-s", "-1"),
        ("--spread", "2.5"),
        ("--keys", "few"),
        ("--slots-per-worker", "0"),
        ("--price-per-hour", "-2"),
        ("--duration", "0"),
        ("--from", "/no/such/file"),
    ],
)
def test_an_impossible_value_is_refused_by_the_name_of_its_option(option: str, value: str):
    assert f"Invalid value for '{option}'" in refused(*FLEET, option, value)


def test_a_promise_has_to_be_made():
    assert "--wait-s: give a promise" in refused(*LOAD, "--clip-s", "35")


def test_the_seconds_of_a_clip_come_from_one_option(tmp_path: Path):
    file = tmp_path / "bench.json"
    file.write_text("{}")
    assert "--clip-s: give the seconds" in refused(*LOAD, "--wait-s", "60")
    assert "--clip-s: give the seconds" in refused(*FLEET, "--from", str(file))


def test_a_promise_that_no_fleet_keeps_is_refused_with_what_is_possible():
    words = refused(*LOAD, "--clip-s", "35", "--spread", "0", "--ready-s", "30")
    assert "--ready-s: without any wait, 95 of 100 reels take up to 41.0 s" in words


def test_a_load_that_is_too_large_to_simulate_is_refused():
    assert "--reels-per-hour: the load keeps 48,611 slots busy" in refused(*FLEET, "--reels-per-hour", "1000000")
