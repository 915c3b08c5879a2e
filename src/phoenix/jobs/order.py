"""Who goes next. Pure: a priority is a head start in seconds, and keys take turns by GPU seconds served."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
