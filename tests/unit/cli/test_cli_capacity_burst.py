"""`phoenix capacity --burst` and fixed fleets: the figures of the documents that Phoenix comes from."""

import json

import pytest
from typer.testing import CliRunner

from phoenix.cli.app import app
from phoenix.cli.capacity.burst import Burst, fewest_workers, size_burst
from phoenix.cli.capacity.simulation import KeyCount


def report_of(*arguments: str) -> dict:
    result = CliRunner().invoke(app, ["capacity", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["capacity", *arguments])
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "even_s", "last_s", "worker_s"),
    [
        (("--burst", "50", "--workers", "1", "--slots-per-worker", "8"), 375, 420, 375),
        (("--burst", "50", "--workers", "7", "--slots-per-worker", "8"), 60, 60, 420),
        (("--burst", "1", "--clips", "15", "--workers", "1"), 900, 900, 900),
        (("--burst", "1", "--clips", "15", "--workers", "3"), 300, 300, 900),
        (("--burst", "20", "--workers", "5"), 240, 240, 1200),
        (("--burst", "800", "--clips", "15", "--workers", "100", "--slots-per-worker", "8"), 900, 900, 90_000),
    ],
)
def test_the_figures_of_the_seeds_come_out(
    options: tuple[str, ...], even_s: float, last_s: float, worker_s: float
) -> None:
    report = report_of(*options)

    assert (report["even_s"], report["last_s"], report["worker_s"]) == (even_s, last_s, worker_s)


def test_a_fleet_of_five_costs_what_the_seeds_say() -> None:
    report = report_of("--burst", "20", "--workers", "5", "--price-per-hour", "1.39")

    assert report["per_hour"] == pytest.approx(6.95)
    assert report["per_burst"] == pytest.approx(5 * 240 * 1.39 / 3600)


def test_the_chart_counts_the_reels_that_are_ready() -> None:
    report = report_of("--burst", "20", "--workers", "5")

    assert [(row["after_s"], row["reels"]) for row in report["finished"]] == [(60, 5), (120, 10), (180, 15), (240, 20)]


def test_a_long_chart_has_few_rows_and_ends_with_all_reels() -> None:
    report = report_of("--burst", "500", "--workers", "5", "--spread", "0.5")

    assert len(report["finished"]) == 12
    assert report["finished"][-1]["reels"] == 500


def test_without_a_fleet_the_fewest_workers_for_a_time_are_found() -> None:
    assert report_of("--burst", "50", "--slots-per-worker", "8", "--ready-s", "60")["workers"] == 7
    assert report_of("--burst", "50", "--slots-per-worker", "8", "--ready-s", "120")["workers"] == 4


def test_a_burst_that_no_fleet_can_render_in_time_is_refused() -> None:
    assert "no fleet is faster" in refused("--burst", "5", "--ready-s", "59")


def test_finishing_and_joining_come_after_the_last_clip() -> None:
    report = report_of("--burst", "20", "--workers", "5", "--finish-s", "2", "--assembly-s", "6")

    assert (report["even_s"], report["last_s"]) == (248, 248)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--reels-per-hour"),
        (("--burst", "5", "--reels-per-hour", "9", "--workers", "1"), "--reels-per-hour"),
        (("--burst", "5"), "--workers"),
        (("--burst", "10000", "--clips", "500", "--workers", "1"), "200,000"),
        (("--reels-per-hour", "9", "--clip-s", "9"), "--wait-s"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(options: tuple[str, ...], message: str) -> None:
    assert message in refused(*options)


def test_a_fixed_fleet_is_described_for_a_steady_load() -> None:
    report = report_of("--reels-per-hour", "40", "--clips", "5", "--clip-s", "35", "--workers", "4")

    assert (report["workers"], report["is_given"]) == (4, True)
    assert next(fleet for fleet in report["fleets"] if fleet["workers"] == 4)["utilisation"] == pytest.approx(
        0.486, 0.01
    )


def test_owners_who_take_turns_get_their_first_clips_earlier() -> None:
    burst = Burst(reels=4, clips=10, clip_s=10)

    one = size_burst(burst, workers=2, slots_per_worker=1, keys=KeyCount.ONE_KEY, price_per_hour=None)
    many = size_burst(burst, workers=2, slots_per_worker=1, keys=KeyCount.MANY_KEYS, price_per_hour=None)

    assert one.last_s == many.last_s == 200
    assert one.ready_p50_s < many.ready_p50_s


def test_more_workers_than_clips_are_never_needed() -> None:
    assert fewest_workers(Burst(3, 2, 10), ready_s=10, slots_per_worker=1, keys=KeyCount.ONE_KEY) == 6
