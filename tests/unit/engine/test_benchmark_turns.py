"""Contenders of a benchmark take turns, until its time is over."""

import runpy
from typing import Any

from fixtures.repository import REPOSITORY

turns = runpy.run_path(str(REPOSITORY / "benchmarks" / "gpu" / "turns.py"), run_name="turns")
Budget, Figure, compare = turns["Budget"], turns["Figure"], turns["compare"]


def rounds_of(budget: Any) -> tuple[list[str], list[Any]]:
    ran: list[str] = []
    contenders = (lambda: ran.append("base"), lambda: ran.append("ours"))
    return ran, list(compare("x", *contenders, rounds=2, budget=budget, is_cpu=False))


def test_contenders_take_turns_in_either_order() -> None:
    ran, figures = rounds_of(Budget(None))
    assert ran == ["base", "ours", "ours", "base"]
    assert len(figures) == 1


def test_a_spent_budget_still_gives_one_round_and_its_figure() -> None:
    ran, (figure,) = rounds_of(Budget(-1))
    assert ran == ["base", "ours"]
    assert figure.lowest == figure.value == figure.highest


def test_on_a_cpu_the_seconds_of_the_cpu_are_compared_too() -> None:
    def work() -> None:
        sum(range(200_000))

    names = [figure.name for figure in compare("x", work, work, rounds=1, budget=Budget(None), is_cpu=True)]
    assert names == ["x", "x, CPU"]


def test_a_figure_says_its_spread() -> None:
    assert str(Figure("gain", 1.5, "x", 1.25, 1.75)).endswith("1.500 x  (1.250 to 1.750)")
