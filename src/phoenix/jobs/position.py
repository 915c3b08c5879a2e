"""Where a waiting job stands, and what it waits for, told truthfully: from the same order the feeder uses."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.jobs import JobState
from phoenix.jobs.estimate import about, work_left_s
from phoenix.jobs.feed import MAX_LOOKED_AT, count_in_hand, count_slots, list_waiting, served_s
from phoenix.jobs.find import FullJob
from phoenix.jobs.fleet import QUEUES
from phoenix.jobs.lifecycle import TaskState
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
    """Of work that slots have in hand or in their hands next; None if some of it cannot be estimated."""
    is_whole: bool
    slots: int
    served_models: Collection[str]
    paces: Paces
    owners_at_cap: Mapping[str, int] = field(default_factory=dict[str, int])
    """Those that have as many clips in hand as they may, and how many."""

    def ahead_of(self, job_id: str) -> int:
        # One that is not in line has its doorbell rung: it is next, unless the line was not read to its end.
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
    turns = list(take_turns(await list_waiting(session, queue, paces), await served_s(session, queue)))
    return _Line(
        places={job_id: place for place, job_id in enumerate(dict.fromkeys(turn.job_id for turn in turns))},
        work_before_s=_add_up(turns),
        is_whole=len(turns) < MAX_LOOKED_AT,
        busy_s=await _read_busy_s(session, queue, paces),
        slots=await count_slots(session, queue, worker_timeout_s=worker_timeout_s),
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


async def _read_busy_s(session: AsyncSession, queue: str, paces: Paces) -> float | None:
    is_rung = (col(TaskRow.state) == TaskState.READY) & col(TaskRow.rung_at).is_not(None)
    statement = (
        select(col(TaskRow.state), col(JobRow.model), col(TaskRow.weight))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(col(TaskRow.queue) == queue, (col(TaskRow.state) == TaskState.RUNNING) | is_rung)
    )
    seconds = 0.0
    for state, model, weight in (await session.execute(statement)).all():
        task_s = paces.task_s(model, weight)
        if task_s is None:
            return None
        # What is running is half done, on the average.
        seconds += task_s / 2 if state is TaskState.RUNNING else task_s
    return seconds


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
