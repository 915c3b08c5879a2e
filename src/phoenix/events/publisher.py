"""Publishes events after their commit, and stores the latest progress of each clip. Never raises because of Redis.

Each event is published twice: for followers of its job, and for followers of all jobs of its owner.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from phoenix.contract.events import TERMINAL_EVENT_TYPES, ClipPreview, ClipProgress
from phoenix.events.messages import EventEnvelope, to_message, to_owner_message
from phoenix.events.progress_cache import (
    NO_PROGRESS,
    STORE_AND_PUBLISH,
    LocalProgressCache,
    ProgressSnapshot,
    parse_progress,
)
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.redis_client import BestEffort, Command, send

# Long enough for the slowest step; a job that is alive renews it with every step.
_PROGRESS_TTL_S = 24 * 3600
# For a job that has ended: clients that missed its end reconnect within this time, or read SQL.
_ENDED_TTL_S = 600

_MAX_LISTED = 5000
"""Per kind: the ids become parameters of a query."""


@dataclass(frozen=True)
class ActiveSubscriptions:
    """Jobs that are followed one by one, and owners whose jobs are all followed."""

    job_ids: Sequence[str] = ()
    owner_ids: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.job_ids or self.owner_ids)


class EventPublisher:
    """While Redis is away, calls return at once or after the time limit."""

    def __init__(self, redis: Redis, prefix: str, *, timeout_s: float = 2) -> None:
        self._redis = redis
        self._channels = Channels(prefix)
        self._best_effort = BestEffort(timeout_s)
        self.local_progress = LocalProgressCache()

    async def publish(self, *events: EventEnvelope) -> None:
        """Publishes events in the given order: durable ones after their commit, and ephemeral ones."""

        async def publish() -> None:
            commands = [command for event in events for command in self._publish_commands(event)]
            await send(self._redis, *commands, *(self._expire(job_id) for job_id in _ended_job_ids(events)))

        if events:
            await self._best_effort.attempt(publish, otherwise=None)

    async def publish_preview(self, preview: ClipPreview, owner_id: str) -> None:
        await self.publish(EventEnvelope(preview, owner_id))

    async def publish_progress(self, progress: ClipProgress, owner_id: str) -> float:
        """Publishes a clip's progress, and stores it for clients that connect later, unless newer progress is stored.

        Returns the job's progress as published so far by any worker; what is published never says less.
        """

        async def publish() -> float:
            (job_progress,) = await send(self._redis, self._store_and_publish(progress, owner_id))
            return float(job_progress)

        self.local_progress.update(progress)
        return await self._best_effort.attempt(publish, otherwise=progress.job_progress)

    async def read_progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        """The latest progress of each job, as far as Redis or this process knows.

        It may come from a worker that has lost its lease: trust a clip's entry only if its attempt is the one that
        SQL has for the clip.
        """

        async def read() -> dict[str, ProgressSnapshot]:
            answers = await send(self._redis, *(("HGETALL", self._channels.progress(job_id)) for job_id in job_ids))
            return {job_id: parse_progress(fields) for job_id, fields in zip(job_ids, answers, strict=True)}

        nothing: dict[str, ProgressSnapshot] = {}
        found = await self._best_effort.attempt(read, otherwise=nothing) if job_ids else nothing
        return {job_id: self.local_progress.merge(job_id, found.get(job_id, NO_PROGRESS)) for job_id in job_ids}

    async def find_active_subscriptions(self) -> ActiveSubscriptions:
        """What the clients of all processes follow now. Empty while Redis is away: nothing published would arrive."""
        patterns = self._channels.job("*"), self._channels.owner("*")

        async def ask() -> ActiveSubscriptions:
            answers = await send(self._redis, *(("PUBSUB", "CHANNELS", pattern) for pattern in patterns))
            jobs, owners = (
                [name.decode().removeprefix(pattern[:-1]) for name in cast("list[bytes]", answer)[:_MAX_LISTED]]
                for pattern, answer in zip(patterns, answers, strict=True)
            )
            return ActiveSubscriptions(jobs, owners)

        return await self._best_effort.attempt(ask, otherwise=ActiveSubscriptions())

    def _store_and_publish(self, progress: ClipProgress, owner_id: str) -> Command:
        envelope = EventEnvelope(progress, owner_id)
        (_, job_channel, message), (_, owner_channel, owner_message) = self._publish_commands(envelope)
        key, attempt = self._channels.progress(progress.job_id), (progress.clip_index, progress.attempt)
        fractions = (str(progress.progress), str(progress.job_progress))
        messages = (message, owner_message, job_channel, owner_channel)
        return ("EVAL", STORE_AND_PUBLISH, 1, key, *attempt, *fractions, *messages, _PROGRESS_TTL_S)

    def _expire(self, job_id: str) -> Command:
        return ("EXPIRE", self._channels.progress(job_id), _ENDED_TTL_S)

    def _publish_commands(self, envelope: EventEnvelope) -> tuple[Command, Command]:
        return (
            ("PUBLISH", self._channels.job(envelope.event.job_id), to_message(envelope.event)),
            ("PUBLISH", self._channels.owner(envelope.owner_id), to_owner_message(envelope)),
        )


def _ended_job_ids(events: Iterable[EventEnvelope]) -> list[str]:
    return [envelope.event.job_id for envelope in events if envelope.event.type in TERMINAL_EVENT_TYPES]
