"""Runs of `make bench`: saved, compared with earlier ones, and shown as a table and as a section of a page."""

from dataclasses import replace
from pathlib import Path

import pytest
from suite.results import Kind, Result, Spread, Verdict
from suite.runs import Change, Machine, Run, compare, load_run, save_run
from suite.table import (
    HEADING,
    counts_of,
    differences_table,
    find_run_name,
    find_section,
    replace_section,
    section_of,
    table_of,
)

MACHINE = Machine("a processor", 2, 24, "Python 3.11", "not counted")
RESULT = Result(
    row="post-core",
    title="POST of a reel",
    unit="ms of CPU",
    value=4.5,
    reference="a peer",
    reference_value=1.5,
    ratio=3.0,
    spread=Spread(2.5, 3.5),
    rounds=5,
    aim=1.5,
    verdict=Verdict.MISSED,
    reason="",
    kind=Kind.BOTH_SIDES,
    command="make bench ONLY=post-core",
)
NOT_MEASURED = replace(
    RESULT,
    row="stream",
    value=None,
    reference_value=None,
    ratio=None,
    spread=None,
    verdict=Verdict.NOT_MEASURED,
    reason="no nginx",
)


def run_of(*results: Result, machine: Machine = MACHINE) -> Run:
    return Run("2026-11-30 10:00 UTC", "abc", machine, others_cores=0.05, took_s=600, results=results)


def with_spread(low: float, ratio: float, high: float, kind: Kind = Kind.BOTH_SIDES) -> Result:
    return replace(RESULT, spread=Spread(low, high), ratio=ratio, kind=kind)


def change_of(result: Result, before: Result = RESULT, machine: Machine = MACHINE) -> Change:
    (found,) = compare(run_of(result, machine=machine), run_of(before))
    return found.change


def test_a_saved_run_is_read_back_unchanged(tmp_path: Path) -> None:
    run = run_of(replace(RESULT, instructions=12), NOT_MEASURED)
    save_run(run, tmp_path / "runs" / "a.json")

    assert load_run(tmp_path / "runs" / "a.json") == run


@pytest.mark.parametrize(
    ("result", "change"),
    [
        (with_spread(3.6, 4.0, 4.5), Change.WORSE),
        (with_spread(3.4, 4.0, 4.5), Change.SAME),
        # The spreads are apart, by less than a tenth.
        (with_spread(3.55, 3.2, 3.7), Change.SAME),
        (with_spread(1.5, 2.0, 2.4), Change.BETTER),
        (with_spread(1.5, 2.0, 2.6), Change.SAME),
    ],
)
def test_a_row_has_changed_if_the_spreads_are_apart_and_the_ratios_differ_by_a_tenth(
    result: Result, change: Change
) -> None:
    assert change_of(result) is change


def test_rounds_without_a_spread_have_no_verdict() -> None:
    assert change_of(replace(RESULT, spread=None, ratio=9)) is Change.UNKNOWN


def test_a_limit_is_not_compared_with_another_processor() -> None:
    slower = with_spread(5, 6, 7, Kind.ONE_SIDE)
    before = replace(RESULT, kind=Kind.ONE_SIDE)

    assert change_of(slower, before, replace(MACHINE, cpu="another")) is Change.UNKNOWN
    assert change_of(slower, before) is Change.WORSE


def test_a_comparison_with_a_peer_holds_on_another_processor() -> None:
    assert change_of(with_spread(5, 6, 7), machine=replace(MACHINE, cpu="another")) is Change.WORSE


def test_rows_that_one_run_lacks_are_not_compared() -> None:
    other = replace(RESULT, row="other")

    assert compare(run_of(RESULT, NOT_MEASURED), run_of(other, replace(RESULT, row="stream"))) == []


def test_the_table_has_value_peer_ratio_aim_and_verdict() -> None:
    row = table_of([RESULT]).splitlines()[-1]

    assert row == (
        "| POST of a reel | 4.50 ms of CPU | a peer: 1.50 | 3.00 (2.50 to 3.50) | 1.50 | **missed** "
        "| `make bench ONLY=post-core` |"
    )


def test_the_table_shows_instructions_where_they_were_counted() -> None:
    assert "4.50 ms of CPU; 1.23 G instructions" in table_of([replace(RESULT, instructions=1_230_000_000)])


def test_a_row_that_was_not_measured_has_its_reason_and_no_numbers() -> None:
    row = table_of([NOT_MEASURED]).splitlines()[-1]

    assert row.split(" | ")[1:6] == ["", "a peer", "", "1.50", "not measured: no nginx"]


def test_verdicts_are_counted() -> None:
    assert counts_of([RESULT, NOT_MEASURED, RESULT]) == "2 missed, 1 not measured"


def test_the_section_takes_the_place_of_the_old_one_and_leaves_the_others() -> None:
    page = f"# Performance\n\n{HEADING}\n\nold\n\n## Others\n\ntext\n"

    written = replace_section(page, section_of(run_of(RESULT), "a.json"))

    assert written == f"# Performance\n\n{section_of(run_of(RESULT), 'a.json')}## Others\n\ntext\n"
    assert find_section(written) == section_of(run_of(RESULT), "a.json")


def test_a_page_names_the_run_that_it_shows() -> None:
    assert find_run_name(section_of(run_of(RESULT), "2026-11-30.json")) == "2026-11-30.json"


def test_a_page_without_the_section_is_not_written() -> None:
    with pytest.raises(ValueError, match="no section"):
        replace_section("# Performance\n", section_of(run_of(RESULT), "a.json"))


def test_changed_rows_come_first() -> None:
    same, worse = with_spread(2.5, 3.0, 3.5), replace(with_spread(6, 7, 8), row="worse")
    before = run_of(RESULT, replace(RESULT, row="worse"))

    lines = differences_table(compare(run_of(same, worse), before)).splitlines()

    assert lines[2:] == ["| worse | 3.00 | 7.00 | worse |", "| post-core | 3.00 | 3.00 | same |"]
