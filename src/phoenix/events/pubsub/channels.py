"""Names of the channels and keys in Redis for events and notifications."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Channels:
    """Every name begins with `prefix`, so that several installations can share one Redis."""

    prefix: str

    def job(self, job_id: str) -> str:
        """Channel for the events of one job."""
        return f"{self.prefix}:job:{job_id}"

    def owner(self, owner_id: str) -> str:
        """Channel for the events of all jobs of one owner."""
        return f"{self.prefix}:owner:{owner_id}"

    def progress(self, job_id: str) -> str:
        """Key of the hash with the latest progress of a job; see `progress_cache`."""
        return f"{self.prefix}:progress:{job_id}"

    @property
    def tasks_ready(self) -> str:
        """Channel that wakes the dispatcher when tasks become ready."""
        return f"{self.prefix}:tasks-ready"

    @property
    def stop(self) -> str:
        """Channel that makes workers renew their leases at once; the payload is the id of a task or of a worker."""
        return f"{self.prefix}:stop"

    @property
    def keys_ended(self) -> str:
        """Channel that makes each API process look at once whether the keys of its open streams are still valid."""
        return f"{self.prefix}:keys-ended"
