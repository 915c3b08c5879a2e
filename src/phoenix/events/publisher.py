"""Publishes events after their commit, and keeps the newest progress of each clip. Never raises for Redis.

Each event goes out twice: to those who follow its job, and to those who follow all jobs of its owner.
"""

from pydantic import ValidationError
from redis.asyncio import Redis

from phoenix.contract.events import ClipPreview, ClipProgress
from phoenix.events.best_effort import BestEffort
from phoenix.events.channels import Channels
from phoenix.events.doorbell import to_message
from phoenix.events.owned import Owned, to_owner_message
from phoenix.events.redis_client import Command, send

# Long enough for the slowest step; a job that is alive renews it with every step.
_PROGRESS_LIFE_S = 24 * 3600


class EventPublisher:
    """Rings the doorbells of jobs. While Redis is away calls return at once, or after the limit."""

    def __init__(self, redis: Redis, prefix: str, *, time_limit_s: float = 2) -> None:
        self._redis = redis
        self._channels = Channels(prefix)
        self._redis_may_be_away = BestEffort(time_limit_s)

    async def publish(self, *events: Owned) -> None:
        """Publishes events in the order given: committed ones, and those that are not kept."""

        async def publish() -> None:
            await send(self._redis, *(doorbell for event in events for doorbell in self._doorbells(event)))

        if events:
            await self._redis_may_be_away.attempt(publish, otherwise=None)

    async def publish_preview(self, preview: ClipPreview, owner_id: str) -> None:
        await self.publish(Owned(preview, owner_id))

    async def publish_progress(self, progress: ClipProgress, owner_id: str) -> None:
        """Publishes a clip's progress and keeps it for those who connect later."""
        key = self._channels.progress(progress.job_id)
        message = to_message(progress)

        async def publish() -> None:
            await send(
                self._redis,
                ("HSET", key, progress.clip_index, message),
                ("EXPIRE", key, _PROGRESS_LIFE_S),
                *self._doorbells(Owned(progress, owner_id)),
            )

        await self._redis_may_be_away.attempt(publish, otherwise=None)

    async def read_progress(self, job_id: str) -> dict[int, ClipProgress]:
        """The newest progress per clip index; empty while Redis is away.

        A worker that lost its lease may have written after its successor: trust an entry only if its attempt
        is the one that SQL names for the clip.
        """

        async def read() -> list[bytes]:
            (messages,) = await send(self._redis, ("HVALS", self._channels.progress(job_id)))
            return messages

        found = await self._redis_may_be_away.attempt(read, otherwise=list[bytes]())
        newest = (_parsed(message) for message in found)
        return {progress.clip_index: progress for progress in newest if progress}

    async def clear_progress(self, job_id: str) -> None:
        """Forgets the progress of a job that has ended."""

        async def delete() -> None:
            await send(self._redis, ("DEL", self._channels.progress(job_id)))

        await self._redis_may_be_away.attempt(delete, otherwise=None)

    def _doorbells(self, owned: Owned) -> tuple[Command, Command]:
        return (
            ("PUBLISH", self._channels.job(owned.event.job_id), to_message(owned.event)),
            ("PUBLISH", self._channels.owner(owned.owner_id), to_owner_message(owned)),
        )


def _parsed(message: bytes) -> ClipProgress | None:
    try:
        return ClipProgress.model_validate_json(message)
    except ValidationError:  # left by an older version
        return None
