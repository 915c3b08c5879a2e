"""A snapshot of one queue: the order of its tasks, its slots, and the models that are served."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.dispatch import (
    MAX_LOOKED_AT,
    TYPICAL_COST_S,
    count_in_hand,
    count_slots,
    list_waiting,
    served_s,
)
from phoenix.jobs.scheduling.durations import Paces, read_paces
from phoenix.jobs.scheduling.fair_queue import Seat, Seating, Waiting, take_turns
from phoenix.jobs.scheduling.workers import list_served_models
from phoenix.jobs.tables import JobRow, TaskRow


@dataclass(frozen=True)
class Place:
    """What is ahead of a job."""

    jobs_ahead: int
    work_before_s: float | None
    """Seconds of all tasks ahead of the job's first one; None if it cannot be estimated."""


class _Before(NamedTuple):
    jobs: int
    work_s: float
    unknown: int
    """How many turns have an assumed cost."""


@dataclass(frozen=True)
class QueueLine:
    """May be some seconds old: a job that arrived since is placed as if it had been there."""

    name: str
    seating: Seating
    running: int
    busy_s: float | None
    """Seconds of work that slots have in hand; None if some of it cannot be estimated."""
    slots: int
    served_models: Collection[str]
    paces: Paces
    in_hand: Mapping[str, int]
    """Clips of each key that are running or rung; empty if there is no cap."""

    def find_place(self, job: FullJob) -> Place:
        """What is ahead of the job. Nothing, if it has no task to start: it is about to be seen as running."""
        if (known := self._places.get(job.row.id)) is not None:
            return known
        late = _first_task(job, self.name)
        if late is None:
            return Place(0, 0.0)
        seat = self.seating.find_seat(late)
        if self._is_cut_short and seat.end == len(self) and not seat.overtaken:
            # Tasks beyond the ones looked at are ahead of it, too.
            return Place(len(self._places), None)
        return self._place_of(seat)

    def wait_s(self, place: Place) -> float | None:
        """Seconds until the job's first turn, if all slots share the work ahead of it; None if unknown."""
        if self.slots == 0 or self.busy_s is None or place.work_before_s is None:
            return None
        return (self.busy_s + place.work_before_s) / self.slots

    def __len__(self) -> int:
        """Turns in line."""
        return len(self.seating.turns)

    @property
    def free_slots(self) -> int:
        return max(self.slots - self.running, 0)

    @property
    def _is_cut_short(self) -> bool:
        return len(self) >= MAX_LOOKED_AT

    @cached_property
    def _before(self) -> Sequence[_Before]:
        """What is ahead of each turn, and of the end of the line."""
        jobs: set[str] = set()
        before = [_Before(0, 0.0, 0)]
        for turn in self.seating.turns:
            jobs.add(turn.job_id)
            last = before[-1]
            before.append(_Before(len(jobs), last.work_s + turn.cost_s, last.unknown + (not turn.is_cost_known)))
        return before

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        """Places of all jobs in line, by their first turns."""
        places: dict[str, Place] = {}
        for number, turn in enumerate(self.seating.turns):
            if turn.job_id not in places:
                places[turn.job_id] = self._place_of(Seat(number))
        return places

    def _place_of(self, seat: Seat) -> Place:
        overtaken = [self.seating.turns[number] for number in seat.overtaken]
        before = self._before[seat.end]
        # If one task of a job is overtaken, all are: their ranks differ only in position.
        ahead = before.jobs - len({turn.job_id for turn in overtaken})
        unknown = before.unknown - sum(not turn.is_cost_known for turn in overtaken)
        work_s = before.work_s - sum(turn.cost_s for turn in overtaken)
        # Nothing is ahead of a job that can start in a free slot now.
        is_free = seat.end - len(overtaken) < self.free_slots
        return Place(0 if is_free else ahead, None if unknown else work_s)


async def read_line(session: AsyncSession, queue: str, *, worker_timeout_s: float, with_in_hand: bool) -> QueueLine:
    """The queue as it is now."""
    paces = await read_paces(session)
    served = await served_s(session, queue)
    turns = take_turns(await list_waiting(session, queue, paces, with_rung=True), served)
    running = await _list_running(session, queue)
    return QueueLine(
        name=queue,
        seating=Seating(turns, served),
        running=len(running),
        busy_s=_busy_s(running, paces),
        slots=await count_slots(session, queue, worker_timeout_s=worker_timeout_s),
        served_models=await list_served_models(session, worker_timeout_s=worker_timeout_s),
        paces=paces,
        in_hand=await count_in_hand(session, queue) if with_in_hand else {},
    )


def _first_task(job: FullJob, queue: str) -> Waiting | None:
    row = job.row
    ready = (task for task in job.tasks if task.queue == queue and task.state is TaskState.READY)
    return next((_waiting(row, task) for task in ready), None)


def _waiting(job: JobRow, task: TaskRow) -> Waiting:
    return Waiting(
        task.id, task.dispatch, job.owner_id, job.id, task.position, job.priority, job.queued_at, TYPICAL_COST_S
    )


async def _list_running(session: AsyncSession, queue: str) -> Sequence[tuple[str | None, float]]:
    """(model, weight) of each running task."""
    statement = (
        select(col(JobRow.model), col(TaskRow.weight))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, col(TaskRow.state) == TaskState.RUNNING)
    )
    return (await session.execute(statement)).all()


def _busy_s(running: Sequence[tuple[str | None, float]], paces: Paces) -> float | None:
    """Seconds left of the running tasks, which are half done on average."""
    left_s = [paces.task_s(model, weight) for model, weight in running]
    known_s = [seconds for seconds in left_s if seconds is not None]
    return sum(known_s) / 2 if len(known_s) == len(left_s) else None


_KEPT_FROM_TURNS = 50
"""A shorter line is cheap to read, and every job visibly moves it: it is never cached."""
_REST = 20
_LONGEST_S = 2.0
"""A line is cached for `_REST` times as long as reading it took, but at most `_LONGEST_S`."""

ReadLine = Callable[[], Awaitable[QueueLine]]


@dataclass(frozen=True)
class _Kept:
    line: QueueLine
    began_s: float
    good_until_s: float

    def answers(self, *, asked_s: float, now_s: float) -> bool:
        """Whether it has not expired, or was read while the caller waited, and so is as fresh as a new one."""
        return self.began_s >= asked_s or now_s < self.good_until_s


class KeptLines:
    """One per process and event loop. Never reads a queue twice at the same time: callers share the result."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get_line(self, queue: str, read: ReadLine) -> QueueLine:
        """The cached line, or the one that `read` returns. Raises what `read` raises; the next caller then tries."""
        asked_s = time.monotonic()
        async with self._reading[queue]:
            kept = self._kept.get(queue)
            if kept is None or not kept.answers(asked_s=asked_s, now_s=time.monotonic()):
                kept = self._kept[queue] = await _read(read)
            return kept.line


async def _read(read: ReadLine) -> _Kept:
    began_s = time.monotonic()
    line = await read()
    ended_s = time.monotonic()
    good_for_s = min(_REST * (ended_s - began_s), _LONGEST_S) if len(line) >= _KEPT_FROM_TURNS else 0.0
    return _Kept(line, began_s, ended_s + good_for_s)
