"""Names of the channels and keys in Redis that carry events and bells."""

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
    def feed(self) -> str:
        """Channel of the bell that tells feeders to look for waiting tasks."""
        return f"{self.prefix}:feed"

    def wake(self, queue: str) -> str:
        """Channel of the bell that tells a queue's workers to look for work."""
        return f"{self.prefix}:wake:{queue}"

    @property
    def stop(self) -> str:
        """Channel of the bell that tells workers to stop a task; its id is the payload."""
        return f"{self.prefix}:stop"
