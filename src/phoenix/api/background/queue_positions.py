"""Publishes the queue position of waiting jobs whenever it changes, and only for jobs that somebody follows."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from phoenix.api.background.leader import Duty
from phoenix.api.background.loop import repeated
from phoenix.assembly import Services
from phoenix.clock import utc_now
from phoenix.contract.events import JobQueueMoved
from phoenix.events.messages import Owned
from phoenix.events.pubsub.channels import find_followed
from phoenix.jobs.repository import FullJob, list_queued
from phoenix.jobs.scheduling.position import find_standings
from phoenix.jobs.views import Standing

_INTERVAL_S = 1.0
_REST = 20
"""A pause takes this many times the pass before it: positions are a courtesy, and must not keep a core busy."""
_MOST_JOBS = 200
"""Followed jobs in one pass: those that have waited longest."""

Position = tuple[int | None, str | None]
"""Queue position and waiting reason, as published last."""


class QueuePositionPublisher:
    """The duty `places` of one API process, on behalf of the streams of all."""

    def __init__(self, services: Services, *, worker_timeout_s: float) -> None:
        self._services = services
        self._worker_timeout_s = worker_timeout_s
        self._published: dict[str, Position] = {}
        self._took_s = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(max(_INTERVAL_S, _REST * self._took_s))

        async with repeated(Duty(self._services.database, "places"), self.publish, wait):
            yield

    async def publish(self) -> None:
        """One pass over the followed jobs. Raises `Unavailable` while the database is away."""
        started_s = time.monotonic()
        await self._look()
        self._took_s = time.monotonic() - started_s

    async def _look(self) -> None:
        followed = await find_followed(self._services.redis, self._services.channels)
        if not followed:
            self._published = {}
            return
        async with self._services.database.read() as session:
            jobs = await list_queued(session, job_ids=followed.job_ids, owner_ids=followed.owner_ids, limit=_MOST_JOBS)
        standings = await find_standings(
            self._services.database,
            jobs,
            worker_timeout_s=self._worker_timeout_s,
            clips_per_key=self._services.settings.limits.running_clips_per_key,
            lines=self._services.lines,
        )
        await self._publish_moves(jobs, standings)

    async def _publish_moves(self, jobs: Sequence[FullJob], standings: Mapping[str, Standing]) -> None:
        positions = {job_id: (at.queue_position, at.waiting_reason) for job_id, at in standings.items()}
        moved = [job for job in jobs if self._published.get(job.row.id) != positions[job.row.id]]
        await self._services.publisher.publish(*(_event(job, standings[job.row.id]) for job in moved))
        self._published = positions


def _event(job: FullJob, standing: Standing) -> Owned:
    moved = JobQueueMoved(
        job_id=job.row.id,
        seq=job.row.last_seq,
        at=utc_now(),
        queue_position=standing.queue_position,
        waiting_reason=standing.waiting_reason,
        eta_s=standing.eta_s,
    )
    return Owned(moved, job.row.owner_id)
