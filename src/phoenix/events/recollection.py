"""This process's own memory of jobs' progress. It stands in while Redis is away or was emptied."""

from phoenix.contract.events import ClipProgress
from phoenix.events.told import NOTHING_TOLD, Told

_MOST_JOBS = 2000
"""If there are more, those heard of longest ago are forgotten."""


class Recollection:
    def __init__(self, most_jobs: int = _MOST_JOBS) -> None:
        self._most_jobs = most_jobs
        self._jobs: dict[str, Told] = {}

    def note(self, event: object) -> None:
        """Called with every event that this process receives or publishes."""
        if isinstance(event, ClipProgress):
            self._keep(event.job_id, Told(event.job_progress, {event.clip_index: event}))

    def complete(self, job_id: str, found: Told) -> Told:
        """What Redis knows of a job, or what is known here if that is newer."""
        return found.joined_with(self._jobs.get(job_id, NOTHING_TOLD))

    def _keep(self, job_id: str, told: Told) -> None:
        # Taken out and put back, so that the first one is always the one to forget.
        self._jobs[job_id] = self._jobs.pop(job_id, NOTHING_TOLD).joined_with(told)
        if len(self._jobs) > self._most_jobs:
            del self._jobs[next(iter(self._jobs))]
