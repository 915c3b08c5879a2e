"""What a stream can follow: one job, or all jobs of an owner."""

from dataclasses import dataclass

from phoenix.events.channels import Channels
from phoenix.events.encoding import EncodedEvent, decode
from phoenix.events.owned import decode_owned


@dataclass(frozen=True)
class JobTopic:
    job_id: str

    def channel(self, channels: Channels) -> str:
        return channels.job(self.job_id)

    def decode(self, message: bytes) -> EncodedEvent:
        """Raises `ValueError` for what is not an event."""
        return decode(message)


@dataclass(frozen=True)
class OwnerTopic:
    owner_id: str

    def channel(self, channels: Channels) -> str:
        return channels.owner(self.owner_id)

    def decode(self, message: bytes) -> EncodedEvent:
        """Raises `ValueError` for what is not an event."""
        return decode_owned(message, self.owner_id)


Topic = JobTopic | OwnerTopic
