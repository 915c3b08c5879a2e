"""One queue as it was at one moment: who comes before whom, and what slots and workers there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.jobs.feed import count_in_hand, count_slots, served_s
from phoenix.jobs.find import FullJob
from phoenix.jobs.latecomers import TaggedTurn, tag_turns, turns_before
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.line import MAX_LOOKED_AT, TYPICAL_COST_S, list_waiting
from phoenix.jobs.order import Waiting, take_turns
from phoenix.jobs.pace import Paces, read_paces
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.jobs.workers import list_served_models


@dataclass(frozen=True)
class Place:
    """What comes before a job."""

    jobs_ahead: int
    work_before_s: float | None
    """Of all tasks before the job's first one; None if it cannot be estimated."""


@dataclass(frozen=True)
class QueueLine:
    """May be some seconds old: a job that came since is given its place as if it had been there."""

    name: str
    turns: Sequence[TaggedTurn]
    served_s: Mapping[str, float]
    running: int
    busy_s: float | None
    """Of work that slots have in hand; None if some of it cannot be estimated."""
    slots: int
    served_models: Collection[str]
    paces: Paces
    in_hand: Mapping[str, int]
    """Clips that each key has running or about to; empty where no cap is set."""

    def find_place(self, job: FullJob) -> Place:
        """A job that has nothing to start is about to be seen as running: nothing is before it."""
        if (known := self._places.get(job.row.id)) is not None:
            return known
        late = _first_task(job, self.name)
        if late is None:
            return Place(0, 0.0)
        before = turns_before(self.turns, late, self.served_s)
        if self._is_cut_short and len(before) == len(self.turns):
            # What was not looked at is before it too.
            return Place(len(self._places), None)
        return self._place_after(before)

    def wait_s(self, place: Place) -> float | None:
        """Seconds until a job's first turn, if all slots share the work before it."""
        if self.slots == 0 or self.busy_s is None or place.work_before_s is None:
            return None
        return (self.busy_s + place.work_before_s) / self.slots

    @property
    def _free_slots(self) -> int:
        return max(self.slots - self.running, 0)

    @property
    def _is_cut_short(self) -> bool:
        return len(self.turns) >= MAX_LOOKED_AT

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        """Of all jobs in line."""
        places: dict[str, Place] = {}
        so_far_s: float | None = 0.0
        for number, turn in enumerate(tagged.turn for tagged in self.turns):
            # Nothing is before a job that starts in a slot that is free now.
            if turn.job_id not in places:
                places[turn.job_id] = Place(0 if number < self._free_slots else len(places), so_far_s)
            so_far_s = None if so_far_s is None or not turn.is_cost_known else so_far_s + turn.cost_s
        return places

    def _place_after(self, before: Sequence[Waiting]) -> Place:
        ahead = 0 if len(before) < self._free_slots else len({turn.job_id for turn in before})
        is_known = all(turn.is_cost_known for turn in before)
        return Place(ahead, sum(turn.cost_s for turn in before) if is_known else None)


async def read_line(session: AsyncSession, queue: str, *, worker_timeout_s: float, with_in_hand: bool) -> QueueLine:
    """The queue as it is now."""
    paces = await read_paces(session)
    served = await served_s(session, queue)
    turns = take_turns(await list_waiting(session, queue, paces, with_rung=True), served)
    running = await _list_running(session, queue)
    return QueueLine(
        name=queue,
        turns=tag_turns(turns, served),
        served_s=served,
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
    """(model, weight) of what is being worked on."""
    statement = (
        select(col(JobRow.model), col(TaskRow.weight))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, col(TaskRow.state) == TaskState.RUNNING)
    )
    return (await session.execute(statement)).all()


def _busy_s(running: Sequence[tuple[str | None, float]], paces: Paces) -> float | None:
    """What is running is half done, on the average."""
    left_s = [paces.task_s(model, weight) for model, weight in running]
    known_s = [seconds for seconds in left_s if seconds is not None]
    return sum(known_s) / 2 if len(known_s) == len(left_s) else None
