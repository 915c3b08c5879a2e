"""Names of the channels and keys in Redis for events and notifications."""

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class KeysChanged:
    """An API key was revoked or changed: what processes remember of keys holds no longer.

    Published after the commit, because only then a new look-up shows the change.
    """

    def commands(self, channels: "Channels") -> tuple[tuple[str, ...], ...]:
        """What to send to Redis."""
        return ("SET", channels.keys_version, new_keys_version()), ("PUBLISH", channels.keys_ended, "")


def new_keys_version() -> str:
    """A text that was never the version of the keys."""
    return secrets.token_hex(8)


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
    def keys_version(self) -> str:
        """Key with a text that every change of an API key replaces; see `KeysChanged`."""
        return f"{self.prefix}:keys-version"

    @property
    def keys_ended(self) -> str:
        """Channel that makes each API process look at once whether the keys of its open streams are still valid."""
        return f"{self.prefix}:keys-ended"
