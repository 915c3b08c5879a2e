"""Publishes what a waiting job waits for, and its queue position, when they change and a client follows the job."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.clock import utc_now
from phoenix.contract import JobQueueMoved, WaitingReason
from phoenix.db import Database
from phoenix.events.messages import EventEnvelope
from phoenix.events.publisher import EventPublisher
from phoenix.jobs.repository import FullJob, list_waiting
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.views import QueuePosition

_INTERVAL_S = 1.0
_PAUSE_RATIO = 20
"""A pause takes this many times as long as the pass before it, so that positions do not keep a core busy."""
_MAX_JOBS = 200
"""Followed jobs in one pass; the jobs that have waited longest come first."""

PublishedPosition = tuple[int | None, WaitingReason | None]
"""The queue position and the waiting reason that were published last."""

_NOTHING: PublishedPosition = (None, None)


class QueuePositionPublisher:
    """The background service `queue_positions` of one API process. Serves the streams of every API process."""

    def __init__(self, database: Database, publisher: EventPublisher, queue_positions: QueuePositions) -> None:
        self._database = database
        self._publisher = publisher
        self._queue_positions = queue_positions
        self._published: dict[str, PublishedPosition] = {}
        self._last_pass_s = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(max(_INTERVAL_S, _PAUSE_RATIO * self._last_pass_s))

        async with leader_loop(LeaderLease(self._database, "queue_positions"), self.publish, wait):
            yield

    async def publish(self) -> None:
        """One pass over the followed jobs. Raises `Unavailable` while the database is away."""
        started_s = time.monotonic()
        await self._publish_changes()
        self._last_pass_s = time.monotonic() - started_s

    async def _publish_changes(self) -> None:
        followed = await self._publisher.find_active_subscriptions()
        if not followed:
            self._published = {}
            return
        async with self._database.read() as session:
            jobs = await list_waiting(
                session,
                job_ids=followed.job_ids,
                owner_ids=followed.owner_ids,
                limit=_MAX_JOBS,
                also=[job_id for job_id, published in self._published.items() if _ends_without_event(published)],
            )
        queue_positions = await self._queue_positions.find(jobs)
        await self._publish_changed(jobs, queue_positions)

    async def _publish_changed(self, jobs: Sequence[FullJob], queue_positions: Mapping[str, QueuePosition]) -> None:
        positions = {job_id: (at.queue_position, at.waiting_reason) for job_id, at in queue_positions.items()}
        changed = [job for job in jobs if self._published.get(job.row.id, _NOTHING) != positions[job.row.id]]
        await self._publisher.publish(*(_event(job, queue_positions[job.row.id]) for job in changed))
        self._published = {job_id: position for job_id, position in positions.items() if position != _NOTHING}


def _ends_without_event(published: PublishedPosition) -> bool:
    """Whether a wait may end without a durable event. `job.started` ends the wait of a queued job."""
    position, reason = published
    return position is None and reason is not None


def _event(job: FullJob, position: QueuePosition) -> EventEnvelope:
    moved = JobQueueMoved(
        job_id=job.row.id,
        seq=job.row.last_seq,
        at=utc_now(),
        queue_position=position.queue_position,
        waiting_reason=position.waiting_reason,
        eta_s=position.eta_s,
    )
    return EventEnvelope(moved, job.row.owner_id)
