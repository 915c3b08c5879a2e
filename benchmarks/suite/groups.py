"""A group of rows: what shares servers is measured together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from suite.results import Measurement, Row


@dataclass(frozen=True)
class Group:
    """`measure` takes rows and a number of rounds. It yields a measurement for each of the rows, in any order."""

    name: str
    rows: tuple[Row, ...]
    measure: Callable[[Sequence[Row], int], Iterator[Measurement]]
    limit_s: float = 600
    """After this time the group is given up."""


def choose(groups: Sequence[Group], only: str) -> list[tuple[Group, tuple[Row, ...]]]:
    """The rows whose name, or whose group's name, begins with one of the words of `only`; all without a word."""
    words = tuple(only.split())
    chosen = [
        (group, tuple(row for row in group.rows if not words or group.name in words or row.name.startswith(words)))
        for group in groups
    ]
    return [(group, rows) for group, rows in chosen if rows]
