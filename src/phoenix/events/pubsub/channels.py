"""Names of the channels and keys in Redis that carry events and notifications."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Channels:
    """Every name starts with `prefix`, so that several installations can share one Redis."""

    prefix: str

    def job(self, job_id: str) -> str:
        """Channel of one job's events."""
        return f"{self.prefix}:job:{job_id}"

    def owner(self, owner_id: str) -> str:
        """Channel of the events of all jobs of one owner."""
        return f"{self.prefix}:owner:{owner_id}"

    def progress(self, job_id: str) -> str:
        """Key of the hash from clip index to the newest `ClipProgress`."""
        return f"{self.prefix}:progress:{job_id}"

    @property
    def tasks_ready(self) -> str:
        """Channel that wakes the dispatcher, so that it looks for ready tasks."""
        return f"{self.prefix}:tasks-ready"

    @property
    def stop(self) -> str:
        """Channel that asks workers to stop a task; its id is the payload."""
        return f"{self.prefix}:stop"
