"""Names of the channels and keys in Redis that carry events and notifications."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from phoenix.events.pubsub.redis_client import BestEffort, send


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

    def wake(self, queue: str) -> str:
        """Channel that wakes a queue's workers, so that they look for work."""
        return f"{self.prefix}:wake:{queue}"

    @property
    def stop(self) -> str:
        """Channel that asks workers to stop a task; its id is the payload."""
        return f"{self.prefix}:stop"


_MAX_LISTED = 5000
"""Per kind: the ids become parameters of a query."""


@dataclass(frozen=True)
class ActiveSubscriptions:
    """Jobs that are followed one by one, and owners whose jobs are all followed."""

    job_ids: Sequence[str] = ()
    owner_ids: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.job_ids or self.owner_ids)


async def find_active_subscriptions(redis: Redis, channels: Channels) -> ActiveSubscriptions:
    """Empty while Redis is away: nothing that is published would arrive."""
    patterns = channels.job("*"), channels.owner("*")

    async def ask() -> ActiveSubscriptions:
        answers = await send(redis, *(("PUBSUB", "CHANNELS", pattern) for pattern in patterns))
        jobs, owners = (
            [name.decode().removeprefix(pattern[:-1]) for name in cast("list[bytes]", answer)[:_MAX_LISTED]]
            for pattern, answer in zip(patterns, answers, strict=True)
        )
        return ActiveSubscriptions(jobs, owners)

    return await BestEffort(2).attempt(ask, otherwise=ActiveSubscriptions())
