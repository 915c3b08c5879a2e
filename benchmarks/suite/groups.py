"""A group of rows: what shares servers is measured together."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    is_long: bool = False
    """Whether the group is measured only if it is named: its rows alone take longer than the whole table may."""


def choose(groups: Sequence[Group], only: str) -> list[tuple[Group, tuple[Row, ...]]]:
    """The rows that the words of `only` name; without a word, all but those of long groups.

    A word is the name of a row or of a group, or the beginning of names of rows.
    """
    words = only.split()
    exact = {row.name for group in groups for row in group.rows} & {*words}
    beginnings = tuple(word for word in words if word not in exact)

    def is_chosen(group: Group, row: Row) -> bool:
        if not words:
            return not group.is_long
        return row.name in exact or group.name in words or row.name.startswith(beginnings)

    chosen = [(group, tuple(row for row in group.rows if is_chosen(group, row))) for group in groups]
    return [(group, rows) for group, rows in chosen if rows]


def measure_group(group: Group, rows: Sequence[Row], rounds: int, left_s: float) -> Iterator[Measurement]:
    """One measurement per row, also if the group fails or has no time: the other groups matter as much.

    Raises `KeyboardInterrupt` after the last row.
    """
    left = {row.name: row for row in rows}
    reason = "its group ended early"
    try:
        with time_limit(min(group.limit_s, left_s)):
            for measured in group.measure(rows, rounds):
                del left[measured.row.name]
                yield measured
    except KeyboardInterrupt:
        yield from (Measurement(row, (), "interrupted") for row in left.values())
        raise
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    yield from (Measurement(row, (), reason) for row in left.values())


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `TimeoutError` in the block after so many seconds, or before it if there are none. Main thread only."""
    if seconds <= 0:
        raise TimeoutError("no time was left")

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not done in the {seconds:.0f} s that were left")

    handler = signal.signal(signal.SIGALRM, give_up)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)
