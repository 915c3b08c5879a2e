"""Where a waiting job stands, and what it waits for, told truthfully: from the same order the feeder uses."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.jobs import JobState
from phoenix.jobs.estimate import about, work_left_s
from phoenix.jobs.feed import count_in_hand, count_slots, served_s
from phoenix.jobs.find import FullJob
from phoenix.jobs.fleet import QUEUES
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.line import MAX_LOOKED_AT, list_waiting
from phoenix.jobs.order import Waiting, take_turns
from phoenix.jobs.pace import Paces, read_paces
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.jobs.views import Standing
from phoenix.jobs.workers import list_served_models


@dataclass(frozen=True)
class _Line:
    """One queue as it is now."""

    places: Mapping[str, int]
    """How many jobs come before each one that waits."""
    work_before_s: Mapping[str, float | None]
    """Of all tasks before a job's first one, as far as it can be estimated."""
    busy_s: float | None
    """Of work that slots have in hand; None if some of it cannot be estimated."""
    is_whole: bool
    slots: int
    served_models: Collection[str]
    paces: Paces
    owners_at_cap: Mapping[str, int] = field(default_factory=dict[str, int])
    """Those that have as many clips in hand as they may, and how many."""

    def ahead_of(self, job_id: str) -> int:
        # One that is not in line is about to start, unless the line was not read to its end.
        return self.places.get(job_id, 0 if self.is_whole else len(self.places))

    def wait_s(self, job_id: str) -> float | None:
        """Seconds until the job's first turn, if all slots share the work before it."""
        before_s = self.work_before_s.get(job_id, 0.0 if self.is_whole else None)
        if self.slots == 0 or self.busy_s is None or before_s is None:
            return None
        return (self.busy_s + before_s) / self.slots


async def find_standings(
    session: AsyncSession, jobs: Sequence[FullJob], *, worker_timeout_s: float, clips_per_key: int = 0
) -> Mapping[str, Standing]:
    """The standing of each job by its id. Works the order out once per queue, however many jobs there are.

    `clips_per_key`: how many clips of one key the feeder lets run at a time; 0 if as many as there are slots.
    """
    paces = await read_paces(session)
    standings = {job.row.id: _standing_of_running(job, paces) for job in jobs}
    for queue in QUEUES:
        here = [job for job in jobs if job.row.state is JobState.QUEUED and _queue_of(job.row) == queue]
        if here:
            line = await _read_line(session, queue, paces, worker_timeout_s=worker_timeout_s)
            if clips_per_key and queue == "gpu":
                in_hand = await count_in_hand(session, queue)
                at_cap = {owner_id: count for owner_id, count in in_hand.items() if count >= clips_per_key}
                line = replace(line, owners_at_cap=at_cap)
            standings |= {job.row.id: _standing_of_waiting(job, queue, line) for job in here}
    return standings


def _queue_of(job: JobRow) -> str:
    return "gpu" if job.kind == "reel" else "media"


def _standing_of_running(job: FullJob, paces: Paces) -> Standing:
    left_s = work_left_s(job, paces) if job.row.state is JobState.RUNNING else None
    return Standing(eta_s=None if left_s is None else about(left_s))


def _standing_of_waiting(job: FullJob, queue: str, line: _Line) -> Standing:
    ahead = line.ahead_of(job.row.id)
    wait_s, work_s = line.wait_s(job.row.id), work_left_s(job, line.paces)
    eta_s = None if wait_s is None or work_s is None else about(wait_s + work_s)
    return Standing(ahead, _reason(job.row, queue, ahead, line), eta_s)


async def _read_line(session: AsyncSession, queue: str, paces: Paces, *, worker_timeout_s: float) -> _Line:
    waiting = await list_waiting(session, queue, paces, with_rung=True)
    turns = list(take_turns(waiting, await served_s(session, queue)))
    running = await _list_running(session, queue)
    slots = await count_slots(session, queue, worker_timeout_s=worker_timeout_s)
    return _Line(
        places=_places(turns, free_slots=max(slots - len(running), 0)),
        work_before_s=_add_up(turns),
        is_whole=len(turns) < MAX_LOOKED_AT,
        busy_s=_busy_s(running, paces),
        slots=slots,
        served_models=await list_served_models(session, worker_timeout_s=worker_timeout_s),
        paces=paces,
    )


def _add_up(turns: Sequence[Waiting]) -> Mapping[str, float | None]:
    before: dict[str, float | None] = {}
    so_far_s: float | None = 0.0
    for turn in turns:
        before.setdefault(turn.job_id, so_far_s)
        so_far_s = None if so_far_s is None or not turn.is_cost_known else so_far_s + turn.cost_s
    return before


def _places(turns: Sequence[Waiting], *, free_slots: int) -> Mapping[str, int]:
    """Nothing is before a job that starts in a slot that is free now."""
    places: dict[str, int] = {}
    for number, turn in enumerate(turns):
        places.setdefault(turn.job_id, 0 if number < free_slots else len(places))
    return places


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


def _reason(job: JobRow, queue: str, ahead: int, line: _Line) -> str:
    if line.slots == 0:
        return f"No {queue} worker is running."
    if job.model is not None and job.model not in line.served_models:
        return f"No live worker serves the model {job.model}."
    if (count := line.owners_at_cap.get(job.owner_id)) is not None:
        return f"This key has {count} clip{'s' if count > 1 else ''} under way, which is as many as it may."
    if ahead:
        return f"{ahead} job{'s' if ahead > 1 else ''} will start before this one."
    return "It is next: every slot is busy."
