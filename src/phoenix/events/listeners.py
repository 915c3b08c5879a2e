"""Which jobs and owners are followed now by a stream of any replica, as far as Redis knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from phoenix.events.best_effort import BestEffort
from phoenix.events.channels import Channels
from phoenix.events.redis_client import send

_MOST_LISTED = 5000
"""Per kind: the ids become parameters of a query."""


@dataclass(frozen=True)
class Followed:
    """Jobs that are followed one by one, and owners whose jobs are all followed."""

    job_ids: Sequence[str] = ()
    owner_ids: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.job_ids or self.owner_ids)


async def find_followed(redis: Redis, channels: Channels) -> Followed:
    """Empty while Redis is away: nothing that is published would arrive."""
    patterns = channels.job("*"), channels.owner("*")

    async def ask() -> Followed:
        answers = await send(redis, *(("PUBSUB", "CHANNELS", pattern) for pattern in patterns))
        jobs, owners = (
            [name.decode().removeprefix(pattern[:-1]) for name in cast("list[bytes]", answer)[:_MOST_LISTED]]
            for pattern, answer in zip(patterns, answers, strict=True)
        )
        return Followed(jobs, owners)

    return await BestEffort(2).attempt(ask, otherwise=Followed())
