"""Jobs as their owner sees them: rows, combined with live progress and queue positions."""

from collections.abc import Mapping, Sequence

from phoenix.clock import utc_now
from phoenix.contract import Job, JobState
from phoenix.db import Database
from phoenix.errors import Unavailable
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.events.publisher import EventPublisher
from phoenix.jobs.repository import FullJob, fetch_full_job
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.views import QueuePosition, live_state, view_job

POLL_AFTER_S = 2
"""Retry-After of an unfinished job, for clients that poll instead of streaming."""


class JobViews:
    """One per process."""

    def __init__(self, database: Database, publisher: EventPublisher, queue_positions: QueuePositions) -> None:
        self._database = database
        self._publisher = publisher
        self._queue_positions = queue_positions

    async def fetch(self, job_id: str, owner_id: str) -> Job:
        """The job as its owner sees it now. Raises `NotFound`."""
        (view,) = await self.view(await fetch_full_job(self._database, job_id, owner_id=owner_id))
        return view

    async def view(self, *jobs: FullJob) -> list[Job]:
        """Views of the jobs, in the same order."""
        positions = await self._find_positions([job for job in jobs if not job.row.state.is_terminal])
        # A failed job shows how far it came; a successful job needs no progress.
        progress = await self._publisher.read_progress(
            [job.row.id for job in jobs if job.row.state is not JobState.SUCCEEDED and job.was_claimed]
        )
        return [
            _view(job, progress.get(job.row.id, NO_PROGRESS), positions.get(job.row.id, QueuePosition()))
            for job in jobs
        ]

    async def view_new(self, job: FullJob) -> Job:
        """The view of a job that was just submitted: it cannot have any progress yet."""
        positions = await self._find_positions([job])
        return _view(job, NO_PROGRESS, positions.get(job.row.id, QueuePosition()))

    async def _find_positions(self, unfinished: Sequence[FullJob]) -> Mapping[str, QueuePosition]:
        if not unfinished:
            return {}
        try:
            return await self._queue_positions.find(unfinished)
        except Unavailable:
            # A queue position is optional: an accepted job is shown without it.
            return {}


def _view(job: FullJob, progress: ProgressSnapshot, position: QueuePosition) -> Job:
    live = live_state(progress, position, utc_now())
    return view_job(job.row, job.tasks, job.output, live, request=job.request)
