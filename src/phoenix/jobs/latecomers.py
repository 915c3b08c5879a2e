"""Inserts a task into an order that was computed before it arrived. Pure; the order itself is `order`'s part."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from phoenix.jobs.order import Waiting, turn_tag


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
