"""What a row of the table says: its ratio, its spread, and whether the aim is met. Pure.

The rounds of a row take turns between Phoenix and its peer, so a ratio per round is free of what changes slowly on the
machine. The spread is a confidence interval of the median of these ratios, of at least 90 %, by the order of the rounds
alone (the interval of the sign test). It assumes nothing about the noise, and needs five rounds.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb

CONFIDENCE = 0.9
QUIET_CORES = 0.1
"""The share of a core that other programs may use while a row is measured that they can make worse."""


class Kind(StrEnum):
    """How other programs of the machine affect a row."""

    BOTH_SIDES = "both sides"
    """They slow down Phoenix and its peer alike. The spread of the ratios shows the rest."""
    ONE_SIDE = "one side"
    """They make the row worse, never better: a time or a memory compared with a fixed limit."""


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    NO_VERDICT = "no verdict"
    NO_AIM = "no aim"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Row:
    """A row before its measurement. `aim`: the largest ratio that meets it; None if there is only a comparison."""

    name: str
    title: str
    unit: str
    reference: str
    """The peer, or what the limit is."""
    aim: float | None
    kind: Kind = Kind.BOTH_SIDES


@dataclass(frozen=True)
class Round:
    """One turn of Phoenix and of its peer, or of Phoenix and the limit, in the unit of the row."""

    value: float
    reference: float

    @property
    def ratio(self) -> float:
        return self.value / self.reference


@dataclass(frozen=True)
class Measurement:
    """The rounds of a row; none if it could not be measured, and then `reason` says why."""

    row: Row
    rounds: Sequence[Round]
    reason: str = ""
    instructions: int | None = None
    """Instructions of one run of Phoenix, where they can be counted."""


@dataclass(frozen=True)
class Spread:
    low: float
    high: float

    def __str__(self) -> str:
        return f"{in_digits(self.low)} to {in_digits(self.high)}"


@dataclass(frozen=True)
class Result:
    """A row of the table. `value` and `reference_value` are medians in `unit`; `ratio` is the median of the ratios."""

    row: str
    title: str
    unit: str
    value: float | None
    reference: str
    reference_value: float | None
    ratio: float | None
    spread: Spread | None
    """None with fewer rounds than the confidence needs."""
    rounds: int
    aim: float | None
    verdict: Verdict
    reason: str
    kind: Kind
    command: str
    instructions: int | None = None


def find_spread(ratios: Sequence[float]) -> Spread | None:
    """The narrowest interval between two of the ratios that has their median with the confidence; None for too few."""
    ordered, count = sorted(ratios), len(ratios)
    cut = -1
    outside = 0.0
    while cut + 1 < count / 2:
        outside += 2 * comb(count, cut + 1) / 2**count
        if 1 - outside < CONFIDENCE:
            break
        cut += 1
    return Spread(ordered[cut], ordered[count - 1 - cut]) if cut >= 0 else None


def decide(row: Row, spread: Spread | None, others_cores: float) -> tuple[Verdict, str]:
    """The verdict and its reason. `others_cores`: what other programs used of the machine, in cores."""
    if row.aim is None:
        return Verdict.NO_AIM, ""
    if spread is None:
        return Verdict.NO_VERDICT, "too few rounds"
    if spread.high <= row.aim:
        return Verdict.MET, ""
    if spread.low <= row.aim:
        return Verdict.NO_VERDICT, "the aim is within the spread"
    if row.kind is Kind.ONE_SIDE and others_cores > QUIET_CORES:
        return Verdict.NO_VERDICT, f"other programs used {others_cores:.1f} cores"
    return Verdict.MISSED, ""


def conclude(measured: Measurement, *, others_cores: float) -> Result:
    row, rounds = measured.row, measured.rounds
    ratios = [each.ratio for each in rounds]
    spread = find_spread(ratios)
    verdict, reason = decide(row, spread, others_cores) if rounds else (Verdict.NOT_MEASURED, measured.reason)
    return Result(
        row=row.name,
        title=row.title,
        unit=row.unit,
        value=statistics.median(each.value for each in rounds) if rounds else None,
        reference=row.reference,
        reference_value=statistics.median(each.reference for each in rounds) if rounds else None,
        ratio=statistics.median(ratios) if rounds else None,
        spread=spread,
        rounds=len(rounds),
        aim=row.aim,
        verdict=verdict,
        reason=reason,
        kind=row.kind,
        command=command_of(row.name),
        instructions=measured.instructions,
    )


def command_of(name: str) -> str:
    return f"make bench ONLY={name}"


def in_digits(number: float) -> str:
    """About three digits, without an exponent."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"
