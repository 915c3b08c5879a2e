"""Which doorbells belong in Redis now, and behind which others. Pure: what comes next is `order`'s part."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from phoenix.jobs.order import Waiting


@dataclass(frozen=True)
class Lineup:
    """What must change in Redis, so that the doorbells there are the next ones, in their order."""

    ring: Sequence[Waiting] = ()
    """At the end, in this order. Some were rung before, and come again behind those that now go first."""
    withdraw: Sequence[Waiting] = ()
    """Beforehand: those that come again further back, and those that are no longer among the next."""

    @property
    def put_back(self) -> list[Waiting]:
        """Withdrawn, and not to be rung: they wait in SQL again."""
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
