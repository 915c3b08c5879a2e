"""Which doorbells belong in Redis now, and in which order. Pure: who goes next is `order`'s part."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from phoenix.jobs.order import Waiting


@dataclass(frozen=True)
class Lineup:
    """What must change in Redis so that it holds the doorbells of the next tasks, in their order."""

    ring: Sequence[Waiting] = ()
    """To be rung in this order, behind all others. Some were rung before, and move behind those that now go first."""
    withdraw: Sequence[Waiting] = ()
    """To be withdrawn before that: doorbells that move further back, and those no longer among the next."""

    @property
    def put_back(self) -> list[Waiting]:
        """Withdrawn and not rung again: these wait in SQL once more."""
        again = {task.task_id for task in self.ring}
        return [task for task in self.withdraw if task.task_id not in again]


UNCHANGED = Lineup()


def line_up(following: Sequence[Waiting], rung: Collection[Waiting]) -> Lineup:
    """`following`: the tasks that are next, as many as there should be doorbells; `rung`: all that have one.

    Without this, a key that arrives while another one's doorbells wait would stand behind them all: behind twice
    as many clips as there are slots, however little it was served.
    """
    first_new = next((place for place, task in enumerate(following) if task.rung_at is None), None)
    if first_new is None:
        return UNCHANGED
    stay = {task.task_id for task in following[:first_new]}
    return Lineup(ring=following[first_new:], withdraw=[task for task in rung if task.task_id not in stay])
