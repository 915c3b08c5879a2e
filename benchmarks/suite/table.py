"""The table of a run as Markdown, and the section of docs/performance.md that has it."""

import re
from collections.abc import Sequence

from suite.results import CONFIDENCE, QUIET_CORES, Result, Verdict, in_digits
from suite.runs import Change, Difference, Run

HEADING = "## The table of `make bench`"
_COLUMNS = ("row", "value", "compared with", "ratio", "aim", "verdict", "to repeat it")
_SECTION = re.compile(rf"^{re.escape(HEADING)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def table_of(results: Sequence[Result]) -> str:
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *(_cells(result) for result in results)]
    return "\n".join(f"| {' | '.join(cells)} |" if cells[0] != "---" else f"|{'|'.join(cells)}|" for cells in lines)


def _cells(result: Result) -> tuple[str, ...]:
    aim = "" if result.aim is None else in_digits(result.aim)
    command = f"`{result.command}`"
    if result.value is None or result.reference_value is None or result.ratio is None:
        return (result.title, "", result.reference, "", aim, _verdict(result), command)
    ratio = in_digits(result.ratio) + (f" ({result.spread})" if result.spread else "")
    compared = f"{result.reference}: {in_digits(result.reference_value)}"
    return (result.title, _value(result, result.value), compared, ratio, aim, _verdict(result), command)


def _value(result: Result, value: float) -> str:
    counted = f"; {result.instructions / 1e9:.2f} G instructions" if result.instructions else ""
    return f"{in_digits(value)} {result.unit}{counted}"


def _verdict(result: Result) -> str:
    words = f"**{result.verdict}**" if result.verdict is Verdict.MISSED else str(result.verdict)
    return f"{words}: {result.reason}" if result.reason else words


def counts_of(results: Sequence[Result]) -> str:
    """How many rows have each verdict."""
    verdicts = [result.verdict for result in results]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)


def section_of(run: Run, name: str) -> str:
    """The section of a page about the run of `benchmarks/runs/{name}`."""
    machine = run.machine
    memory = f"{machine.memory_gb} GB, {machine.python}"
    return f"""{HEADING}

`benchmarks/runs/{name}`, commit {run.commit}, {run.date}: {machine.cores} cores of {machine.cpu}, {memory}. It took
{run.took_s / 60:.0f} minutes. Between the rows, other programs used up to {run.others_cores:.2f} cores.
Instructions: {machine.counter}.

A ratio is the median of the rounds, in which Phoenix and its peer take turns. The numbers in parentheses are a
confidence interval of that median, of at least {CONFIDENCE:.0%}, from the order of the rounds alone. The verdict is
*met* or *missed* if the whole interval is on one side of the aim, and *no verdict* otherwise. A row that other programs
can only make worse is not called missed while they use more than {QUIET_CORES} cores.

{table_of(run.results)}

{counts_of(run.results)}. `make bench` repeats all rows, and `make bench-page` writes the run and this section.

"""


def replace_section(page: str, section: str) -> str:
    """The page with the section in the place of the old one. Raises `ValueError` if the page has none."""
    if not _SECTION.search(page):
        raise ValueError(f"the page has no section {HEADING!r}")
    return _SECTION.sub(lambda _: section, page)


def find_section(page: str) -> str | None:
    found = _SECTION.search(page)
    return found[0] if found else None


def find_run_name(page: str) -> str | None:
    """The file in `benchmarks/runs` that the section was written from."""
    found = re.search(r"`benchmarks/runs/([\w.-]+\.json)`", find_section(page) or "")
    return found[1] if found else None


def differences_table(differences: Sequence[Difference]) -> str:
    """The changed rows first."""
    order = [Change.WORSE, Change.BETTER, Change.UNKNOWN, Change.SAME]
    ordered = sorted(differences, key=lambda each: order.index(each.change))
    lines = [f"| {each.row} | {in_digits(each.before)} | {in_digits(each.ratio)} | {each.change} |" for each in ordered]
    return "\n".join(["| row | ratio before | ratio | change |", "|---|---|---|---|", *lines])
