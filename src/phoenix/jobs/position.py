"""Where a waiting job stands, and what it waits for, told truthfully: from the same order the feeder uses."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from phoenix.contract.jobs import JobState
from phoenix.jobs.feed import MAX_LOOKED_AT, count_slots, list_waiting, served_s
from phoenix.jobs.fleet import QUEUES
from phoenix.jobs.order import take_turns
from phoenix.jobs.tables import JobRow
from phoenix.jobs.workers import list_served_models


@dataclass(frozen=True)
class Standing:
    queue_position: int | None
    waiting_reason: str | None


async def find_standing(session: AsyncSession, job: JobRow, *, worker_timeout_s: float) -> Standing:
    """The number of jobs that will start before this one, and the reason for waiting."""
    standings = await find_standings(session, [job], worker_timeout_s=worker_timeout_s)
    return standings[job.id]


async def find_standings(
    session: AsyncSession, jobs: Sequence[JobRow], *, worker_timeout_s: float
) -> Mapping[str, Standing]:
    """The standing of each job by its id. Works the order out once per queue, however many jobs there are."""
    standings = {job.id: Standing(None, None) for job in jobs}
    for queue in QUEUES:
        here = [job for job in jobs if job.state is JobState.QUEUED and _queue_of(job) == queue]
        if not here:
            continue
        places = await _find_places(session, queue)
        slots = await count_slots(session, queue, worker_timeout_s=worker_timeout_s)
        served = await list_served_models(session, worker_timeout_s=worker_timeout_s)
        for job in here:
            # One that is not in line has its doorbell rung: it is next, unless the line was not read to its end.
            ahead = places.get(job.id, len(places) if len(places) >= MAX_LOOKED_AT else 0)
            standings[job.id] = Standing(ahead, _reason(job, queue, ahead, slots, served))
    return standings


def _queue_of(job: JobRow) -> str:
    return "gpu" if job.kind == "reel" else "media"


async def _find_places(session: AsyncSession, queue: str) -> Mapping[str, int]:
    """How many jobs come before each one that waits."""
    order = take_turns(await list_waiting(session, queue), await served_s(session, queue))
    return {job_id: place for place, job_id in enumerate(dict.fromkeys(task.job_id for task in order))}


def _reason(job: JobRow, queue: str, ahead: int, slots: int, served: Collection[str]) -> str:
    if slots == 0:
        return f"No {queue} worker is running."
    if job.model is not None and job.model not in served:
        return f"No live worker serves the model {job.model}."
    if ahead:
        return f"{ahead} job{'s' if ahead > 1 else ''} will start before this one."
    return "It is next: every slot is busy."
