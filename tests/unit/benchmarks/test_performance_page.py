"""The table of docs/performance.md is that of a saved run."""

from suite.rows import GROUPS
from suite.runs import load_run
from suite.table import find_run_name, find_section, section_of

from fixtures.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "performance.md").read_text()
NAME = find_run_name(PAGE)


def test_the_page_has_the_table_of_the_run_that_it_names() -> None:
    assert NAME is not None
    run = load_run(REPOSITORY / "benchmarks" / "runs" / NAME)

    assert find_section(PAGE) == section_of(run, NAME)


def test_the_run_of_the_page_has_every_row() -> None:
    assert NAME is not None
    run = load_run(REPOSITORY / "benchmarks" / "runs" / NAME)

    assert [result.row for result in run.results] == [
        row.name for group in GROUPS if not group.is_long for row in group.rows
    ]
