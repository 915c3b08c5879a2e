"""Who goes next. Pure: a priority is a head start in seconds, and keys take turns by GPU seconds served."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HEAD_START_S: Mapping[str, float] = {"low": 0, "normal": 600, "high": 1200}
"""Bounded, so that nothing starves: a key's task is never overtaken by one it submits more than 20 minutes later."""

FORGETTING_RATE = 4
"""How many seconds of a key's service are forgotten in a second in which it has none.

Were nothing forgotten, every newcomer would go before a reel that is half done. A dump of many clips is remembered: it
always has one running. See docs/decisions/0013-service-is-forgotten.md.
"""


def head_start_s(priority: str) -> float:
    """One that only a newer version knows counts as normal: it must not stop the line for all others."""
    return HEAD_START_S.get(priority, HEAD_START_S["normal"])


@dataclass(frozen=True)
class Waiting:
    """A task that could start now."""

    task_id: str
    dispatch: int
    owner_id: str
    job_id: str
    position: int
    priority: str
    queued_at: datetime
    cost_s: float
    """Seconds that it will probably take; need not be exact."""
    is_cost_known: bool = False
    """Whether `cost_s` was learned rather than assumed."""
    rung_at: datetime | None = None
    """When its doorbell was put into Redis; None if it has none."""

    @property
    def arrival(self) -> datetime:
        return self.queued_at - timedelta(seconds=head_start_s(self.priority))

    @property
    def rank(self) -> tuple[datetime, str, int]:
        """Sort key among the tasks of one API key."""
        return self.arrival, self.job_id, self.position


def remembered_s(served_s: float, idle_s: float) -> float:
    """What is left of a key's service after so many seconds without any."""
    return max(served_s - FORGETTING_RATE * idle_s, 0.0)


def take_turns(waiting: Sequence[Waiting], served_s: Mapping[str, float]) -> Iterator[Waiting]:
    """All of `waiting`, in the order in which they should start.

    The next turn is that of the key with the least service behind it, its best task's head start counted as
    service not yet had; within a key it is first come, first served by arrival less head start.
    """
    lines = _lines(waiting)
    tags = {owner_id: served_s.get(owner_id, 0.0) for owner_id in lines}
    while lines:
        owner_id = min(lines, key=lambda owner: turn_tag(tags[owner], lines[owner][-1]))
        turn = lines[owner_id].pop()
        tags[owner_id] += turn.cost_s
        if not lines[owner_id]:
            del lines[owner_id]
        yield turn


def turn_tag(served_s: float, best: Waiting) -> tuple[float, datetime, str]:
    """Sort key among API keys: the smallest tag is next. `served_s` is the key's service, `best` its first task.

    The key's id breaks ties, so that the order of two keys does not depend on who else waits.
    """
    return served_s - head_start_s(best.priority), best.arrival, best.owner_id


def within_caps(turns: Iterable[Waiting], in_hand: Mapping[str, int], *, most: int) -> Iterator[Waiting]:
    """The turns without those of keys that would have more than `most` tasks in hand; all of them if `most` is 0."""
    counts = dict(in_hand)
    for turn in turns:
        count = counts.get(turn.owner_id, 0)
        if not most or count < most:
            counts[turn.owner_id] = count + 1
            yield turn


def _lines(waiting: Sequence[Waiting]) -> dict[str, list[Waiting]]:
    """One line per key, the first to be served at the end of the list."""
    lines: dict[str, list[Waiting]] = {}
    for task in sorted(waiting, key=lambda task: task.rank, reverse=True):
        lines.setdefault(task.owner_id, []).append(task)
    return lines


@dataclass(frozen=True)
class Seat:
    """A place after the first `end` turns, except those turns of the same key that it overtakes."""

    end: int
    overtaken: Sequence[int] = ()
    """Their indices, from 0."""


@dataclass
class _OfKey:
    """The turns of one key, in their order."""

    numbers: list[int] = field(default_factory=list[int])
    ranks: list[tuple[datetime, str, int]] = field(default_factory=list[tuple[datetime, str, int]])
    served_s: list[float] = field(default_factory=list[float])
    """Service before each of them, and after the last one."""


class Seating:
    """The turns in order and by key, so that a latecomer's seat is found without sorting all of them again."""

    def __init__(self, turns: Iterable[Waiting], served_s: Mapping[str, float]) -> None:
        """`served_s`: the service by key that the turns were ordered by."""
        self.turns: Sequence[Waiting] = list(turns)
        self._by_key: defaultdict[str, _OfKey] = defaultdict(_OfKey)
        self._served_s = served_s
        self._tags: list[tuple[float, datetime, str]] = []
        for number, turn in enumerate(self.turns):
            own = self._of_key(turn.owner_id)
            self._tags.append(turn_tag(own.served_s[-1], turn))
            own.numbers.append(number)
            own.ranks.append(turn.rank)
            own.served_s.append(own.served_s[-1] + turn.cost_s)

    def find_seat(self, late: Waiting) -> Seat:
        """The seat that a task would get if all turns were ordered again with it."""
        own = self._of_key(late.owner_id)
        earlier = bisect_left(own.ranks, late.rank)
        start = own.numbers[earlier - 1] + 1 if earlier else 0
        end = self._find_first_after(late, turn_tag(own.served_s[earlier], late), start)
        return Seat(end, own.numbers[earlier : bisect_left(own.numbers, end)])

    def _find_first_after(self, late: Waiting, tag: tuple[float, datetime, str], start: int) -> int:
        """The first turn of another key that the latecomer goes before."""
        # Turns of one key depend on that key alone, so those of the others keep their order, whoever comes.
        for number in range(start, len(self.turns)):
            if self._tags[number] > tag and self.turns[number].owner_id != late.owner_id:
                return number
        return len(self.turns)

    def _of_key(self, owner_id: str) -> _OfKey:
        own = self._by_key[owner_id]
        if not own.served_s:
            own.served_s.append(self._served_s.get(owner_id, 0.0))
        return own


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
