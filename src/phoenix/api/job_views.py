"""Jobs as their owner sees them: rows, combined with live progress and queue positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phoenix.clock import utc_now
from phoenix.contract import Job, JobState, QueueName
from phoenix.contract.steering import QueuedJob, QueuedJobList
from phoenix.db import Database
from phoenix.errors import Unavailable
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.events.publisher import EventPublisher
from phoenix.jobs.library.recent_jobs import RecentJobs
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.queue_positions import NextJob, QueuePositions
from phoenix.jobs.views import LiveState, QueuePosition, live_state, view_job

POLL_AFTER_S = 2
"""Retry-After of an unfinished job, for clients that poll instead of streaming."""


_MAX_SHOWN = 300


@dataclass
class _ShownJob:
    """The last view of a job, and what it was made of."""

    job: FullJob
    live: LiveState
    view: Job
    json: bytes | None = None


class JobViews:
    """One per process. Makes the view of a job again only if the job or what is known of it outside SQL has changed."""

    def __init__(self, database: Database, publisher: EventPublisher, queue_positions: QueuePositions) -> None:
        self.jobs = RecentJobs(database)
        self._publisher = publisher
        self._queue_positions = queue_positions
        self._shown: dict[str, _ShownJob] = {}

    async def fetch(self, job_id: str, owner_id: str) -> Job:
        """The job as its owner sees it now. Raises `NotFound`."""
        (view,) = await self.view(await self.jobs.fetch(job_id, owner_id=owner_id))
        return view

    async def view(self, *jobs: FullJob) -> list[Job]:
        """Views of the jobs, in the same order. Read only: others get the same views."""
        positions = await self._find_positions([job for job in jobs if not job.row.state.is_terminal])
        # A failed job shows how far it came; a successful job needs no progress.
        progress = await self._publisher.read_progress(
            [job.row.id for job in jobs if job.row.state is not JobState.SUCCEEDED and job.was_claimed]
        )
        return [
            self._view(job, progress.get(job.row.id, NO_PROGRESS), positions.get(job.row.id, QueuePosition()))
            for job in jobs
        ]

    async def view_new(self, job: FullJob) -> Job:
        """The view of a job that was just submitted: it cannot have any progress yet."""
        positions = await self._find_positions([job])
        return self._view(job, NO_PROGRESS, positions.get(job.row.id, QueuePosition()))

    def to_json(self, view: Job) -> bytes:
        """The JSON of a view, written once for as long as the view is the last one of its job."""
        shown = self._shown.get(view.id)
        if shown is None or shown.view is not view:
            return view.model_dump_json().encode()
        if shown.json is None:
            shown.json = view.model_dump_json().encode()
        return shown.json

    async def view_next(self, queue: QueueName, *, limit: int) -> QueuedJobList:
        """The jobs whose tasks start next in a queue. Raises `Unavailable`."""
        jobs, has_more = await self._queue_positions.list_next(queue, limit=limit)
        return QueuedJobList(data=[_view_queued(each) for each in jobs], has_more=has_more)

    async def _find_positions(self, unfinished: Sequence[FullJob]) -> Mapping[str, QueuePosition]:
        if not unfinished:
            return {}
        try:
            return await self._queue_positions.find(unfinished)
        except Unavailable:
            # A queue position is optional: an accepted job is shown without it.
            return {}

    def _view(self, job: FullJob, progress: ProgressSnapshot, position: QueuePosition) -> Job:
        live = live_state(progress, position, utc_now())
        shown = self._shown.get(job.row.id)
        if shown is not None and shown.job is job and shown.live == live:
            return shown.view
        view = view_job(job.row, job.tasks, job.output, live, request=job.request)
        if self.jobs.remembers(job):
            # Removed and added again, so that the first one is always the next to forget.
            self._shown.pop(job.row.id, None)
            self._shown[job.row.id] = _ShownJob(job, live, view)
        if len(self._shown) > _MAX_SHOWN:
            del self._shown[next(iter(self._shown))]
        return view


def _view_queued(found: NextJob) -> QueuedJob:
    row, position = found.job.row, found.position
    return QueuedJob(
        job_id=row.id,
        owner_id=row.owner_id,
        state=row.state,
        model=row.model,
        priority=row.priority,
        tasks=found.tasks,
        waiting_reason=position.waiting_reason,
        eta_s=position.eta_s,
        queued_at=row.queued_at,
        moved_to_front=row.moved_to_front_at is not None,
    )
