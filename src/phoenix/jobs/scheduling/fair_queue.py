"""Which task is next: weighted fair queueing among owners. Pure.

The owner that has used the fewest seconds of a queue is next. A priority is a boost in seconds.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from heapq import heapify, heappop, heapreplace

PRIORITY_BOOST_S: Mapping[str, float] = {"low": 0, "normal": 600, "high": 1200}
"""Bounded, so that no task starves: no task overtakes a task that its owner submitted more than 20 minutes before."""

USAGE_DECAY_RATE = 4
"""How many seconds of an owner's usage are forgotten per second in which the owner runs nothing.

Without decay, every newcomer would go before a reel that is half done. The usage of an owner with many clips does not
decay, since one of them always runs. See docs/decisions/0013-service-is-forgotten.md.
"""


def priority_boost_s(priority: str) -> float:
    """The boost of a priority. A priority that only a newer version knows counts as normal."""
    return PRIORITY_BOOST_S.get(priority, PRIORITY_BOOST_S["normal"])


@dataclass(frozen=True)
class ReadyTask:
    """A task that could start now."""

    task_id: str
    dispatch_seq: int
    owner_id: str
    job_id: str
    position: int
    priority: str
    queued_at: datetime
    cost_s: float
    """Seconds that the task will probably take. The order needs no exact value."""
    is_cost_known: bool = False
    """Whether `cost_s` was learned rather than assumed."""
    dispatched_at: datetime | None = None
    """When its dispatch message was put into Redis; None if it has none."""
    front_at: datetime | None = None
    """When its job was moved to the front of the queue; None if it was not."""
    model: str | None = None
    """Of a clip."""
    weight: float = 1.0
    """Of its owner: twice the weight stands for twice the seconds of service at the same usage."""

    @property
    def charge_s(self) -> float:
        """What the task adds to the usage of its owner."""
        return self.cost_s / self.weight

    @property
    def front_rank(self) -> float:
        """Sort key before all others: what was moved to the front comes first, the latest before the others."""
        return 0.0 if self.front_at is None else -self.front_at.timestamp()

    # Asked for in each comparison of an order of thousands of tasks.
    @cached_property
    def boosted_queued_at(self) -> datetime:
        """`queued_at`, less the boost of the task's priority."""
        return self.queued_at - timedelta(seconds=priority_boost_s(self.priority))

    @property
    def rank(self) -> tuple[float, datetime, str, int]:
        """Sort key among the tasks of one owner."""
        return self.front_rank, self.boosted_queued_at, self.job_id, self.position


def decayed_usage_s(usage_s: float, idle_s: float) -> float:
    """What is left of an owner's usage after `idle_s` seconds without any."""
    return max(usage_s - USAGE_DECAY_RATE * idle_s, 0.0)


def fair_order(waiting: Sequence[ReadyTask], usage_s: Mapping[str, float]) -> Iterator[ReadyTask]:
    """All of `waiting`, in the order in which they should start.

    What was moved to the front comes first. The next task is the first of the owner with the least usage, its first
    task's priority boost counted as usage not yet had; within an owner it is first come, first served by arrival less
    priority boost.
    """
    by_owner = _group_by_owner(waiting)
    used_s = {owner_id: usage_s.get(owner_id, 0.0) for owner_id in by_owner}
    # A heap, because one task changes the tag of its owner alone.
    tags = [start_tag(used_s[owner_id], tasks[-1]) for owner_id, tasks in by_owner.items()]
    heapify(tags)
    while tags:
        owner_id = tags[0][-1]
        tasks = by_owner[owner_id]
        task = tasks.pop()
        used_s[owner_id] += task.charge_s
        if tasks:
            heapreplace(tags, start_tag(used_s[owner_id], tasks[-1]))
        else:
            heappop(tags)
        yield task


def start_tag(usage_s: float, first: ReadyTask) -> tuple[float, float, datetime, str]:
    """Sort key among owners: the smallest tag is next. `usage_s` is the owner's usage, `first` its first task.

    The owner's id breaks ties, so that the order of two owners does not depend on who else waits.
    """
    return first.front_rank, usage_s - priority_boost_s(first.priority), first.boosted_queued_at, first.owner_id


_NO_LIMITS: Mapping[str, int] = {}


def apply_concurrency_limit(
    ordered: Iterable[ReadyTask],
    in_flight: Mapping[str, int],
    *,
    limit: int,
    by_owner: Mapping[str, int] = _NO_LIMITS,
) -> Iterator[ReadyTask]:
    """The tasks in order, without the tasks beyond `limit` in flight per owner; 0 means no limit.

    `by_owner`: the limits of owners that have another one.
    """
    counts = dict(in_flight)
    for task in ordered:
        count, most = counts.get(task.owner_id, 0), by_owner.get(task.owner_id, limit)
        if not most or count < most:
            counts[task.owner_id] = count + 1
            yield task


def apply_model_limits(
    ordered: Iterable[ReadyTask], in_flight: Mapping[tuple[str, str | None], int], limits: Mapping[str, int]
) -> Iterator[ReadyTask]:
    """The tasks in order, without those beyond what their owner may have in flight of one model.

    `in_flight`: by owner and model. An owner that is not in `limits` has no such limit.
    """
    counts = dict(in_flight)
    for task in ordered:
        pair = task.owner_id, task.model
        if task.owner_id in limits and counts.get(pair, 0) >= limits[task.owner_id]:
            continue
        counts[pair] = counts.get(pair, 0) + 1
        yield task


def _group_by_owner(waiting: Sequence[ReadyTask]) -> dict[str, list[ReadyTask]]:
    """The tasks by owner, the first to start at the end of each list."""
    by_owner: dict[str, list[ReadyTask]] = {}
    for task in sorted(waiting, key=lambda task: task.rank, reverse=True):
        by_owner.setdefault(task.owner_id, []).append(task)
    return by_owner


@dataclass(frozen=True)
class InsertionPoint:
    """A position after the first `end` tasks, without the tasks of the same owner that it overtakes."""

    end: int
    overtaken: Sequence[int] = ()
    """Their indices, from 0."""


@dataclass
class _OwnerTasks:
    """The tasks of one owner, in their order."""

    indices: list[int] = field(default_factory=list[int])
    ranks: list[tuple[float, datetime, str, int]] = field(default_factory=list[tuple[float, datetime, str, int]])
    usage_s: list[float] = field(default_factory=list[float])
    """The owner's usage before each task, and after the last task."""


class InsertionIndex:
    """The fair order, indexed by owner: finds the position of a new task without sorting all tasks again."""

    def __init__(self, tasks: Iterable[ReadyTask], usage_s: Mapping[str, float]) -> None:
        """`usage_s`: the usage by owner that the order was computed from."""
        self.tasks: Sequence[ReadyTask] = list(tasks)
        self._by_owner: defaultdict[str, _OwnerTasks] = defaultdict(_OwnerTasks)
        self._usage_s = usage_s
        self._tags: list[tuple[float, float, datetime, str]] = []
        for number, task in enumerate(self.tasks):
            own = self._of_owner(task.owner_id)
            self._tags.append(start_tag(own.usage_s[-1], task))
            own.indices.append(number)
            own.ranks.append(task.rank)
            own.usage_s.append(own.usage_s[-1] + task.charge_s)

    def find_insertion_point(self, new_task: ReadyTask) -> InsertionPoint:
        """The position that a new task would get if all tasks were ordered again with it."""
        own = self._of_owner(new_task.owner_id)
        earlier = bisect_left(own.ranks, new_task.rank)
        start = own.indices[earlier - 1] + 1 if earlier else 0
        end = self._find_first_after(new_task, start_tag(own.usage_s[earlier], new_task), start)
        return InsertionPoint(end, own.indices[earlier : bisect_left(own.indices, end)])

    def _find_first_after(self, new_task: ReadyTask, tag: tuple[float, float, datetime, str], start: int) -> int:
        """The first task of another owner that the new task goes before."""
        # The order of an owner's tasks depends on that owner alone, so all other tasks keep their order.
        for number in range(start, len(self.tasks)):
            if self._tags[number] > tag and self.tasks[number].owner_id != new_task.owner_id:
                return number
        return len(self.tasks)

    def _of_owner(self, owner_id: str) -> _OwnerTasks:
        own = self._by_owner[owner_id]
        if not own.usage_s:
            own.usage_s.append(self._usage_s.get(owner_id, 0.0))
        return own


@dataclass(frozen=True)
class DispatchPlan:
    """What must change in Redis so that it holds the dispatch messages of the next tasks, in their order."""

    enqueue: Sequence[ReadyTask] = ()
    """Tasks to dispatch in this order, behind all others. Some were dispatched before and now move back."""
    revoke: Sequence[ReadyTask] = ()
    """Tasks to revoke first: their message moves back, or they are no longer among the next."""

    @property
    def undispatch(self) -> list[ReadyTask]:
        """The tasks that are revoked and not dispatched again. They wait in SQL once more."""
        again = {task.task_id for task in self.enqueue}
        return [task for task in self.revoke if task.task_id not in again]


UNCHANGED = DispatchPlan()


def make_dispatch_plan(next_tasks: Sequence[ReadyTask], dispatched: Collection[ReadyTask]) -> DispatchPlan:
    """The plan that dispatches all of `next_tasks` in order. `dispatched`: all tasks that are dispatched now.

    Without revoking, a new owner would wait behind all messages of another owner: behind twice as many clips as there
    are slots, even if it has used nothing.
    """
    first_new = next((index for index, task in enumerate(next_tasks) if task.dispatched_at is None), None)
    if first_new is None:
        return UNCHANGED
    stay = {task.task_id for task in next_tasks[:first_new]}
    return DispatchPlan(
        enqueue=next_tasks[first_new:], revoke=[task for task in dispatched if task.task_id not in stay]
    )
