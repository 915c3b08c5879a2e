"""A saved run, and how it differs from another run."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from suite.results import Kind, Result, Spread, Verdict

CHANGED_BY = 1.1
"""A ratio is called better or worse if it differs by this factor, and the spreads do not overlap."""


@dataclass(frozen=True)
class Machine:
    """Where a run was made. `counter`: what counted instructions, or why nothing did."""

    cpu: str
    cores: int
    memory_gb: int
    python: str
    counter: str


@dataclass(frozen=True)
class Run:
    """`others_cores` is the most that other programs used between two groups of rows, in cores."""

    date: str
    commit: str
    machine: Machine
    others_cores: float
    took_s: float
    results: Sequence[Result]


class Change(StrEnum):
    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNKNOWN = "no verdict"


@dataclass(frozen=True)
class Difference:
    row: str
    before: float
    ratio: float
    change: Change


def save_run(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(run), indent=1) + "\n")


def load_run(path: Path) -> Run:
    return parse_run(json.loads(path.read_text()))


def parse_run(found: Mapping[str, Any]) -> Run:
    results = tuple(_parse_result(each) for each in found["results"])
    return Run(**{**found, "machine": Machine(**found["machine"]), "results": results})


def _parse_result(found: Mapping[str, Any]) -> Result:
    spread = Spread(**found["spread"]) if found["spread"] else None
    return Result(**{**found, "spread": spread, "verdict": Verdict(found["verdict"]), "kind": Kind(found["kind"])})


def compare(run: Run, before: Run) -> list[Difference]:
    """The rows that both runs have measured, in the order of `run`."""
    earlier = {result.row: result for result in before.results}
    is_alike = run.machine.cpu == before.machine.cpu
    return [
        Difference(result.row, old.ratio, result.ratio, _change_of(result, old, is_alike=is_alike))
        for result in run.results
        if result.ratio is not None and (old := earlier.get(result.row)) is not None and old.ratio is not None
    ]


def _change_of(result: Result, old: Result, *, is_alike: bool) -> Change:
    """A row with a fixed limit depends on the speed of the processor, so it is compared only on one like before."""
    if result.spread is None or old.spread is None or (result.kind is Kind.ONE_SIDE and not is_alike):
        return Change.UNKNOWN
    assert result.ratio is not None
    assert old.ratio is not None
    if result.spread.low > old.spread.high and result.ratio > old.ratio * CHANGED_BY:
        return Change.WORSE
    if result.spread.high < old.spread.low and result.ratio * CHANGED_BY < old.ratio:
        return Change.BETTER
    return Change.SAME
