"""Publishes events over Redis, and stores the latest progress of each clip there. Never raises because Redis is away.

Each event is published twice: on the channel of its job, and on the channel of its owner.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from phoenix.contract import TERMINAL_EVENT_TYPES, ClipPreview, ClipProgress
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

# Long enough for the slowest step: each step of a running job renews it.
_PROGRESS_TTL_S = 24 * 3600
# For an ended job: clients that missed its end reconnect within this time, or get the progress from SQL.
_ENDED_TTL_S = 600

_MAX_LISTED = 5000
"""Most job ids, and most owner ids: all of them become parameters of one query."""


@dataclass(frozen=True)
class ActiveSubscriptions:
    """What clients follow now: single jobs, and all jobs of an owner."""

    job_ids: Sequence[str] = ()
    owner_ids: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.job_ids or self.owner_ids)


class EventPublisher:
    """Publishes events, and reads published progress. While Redis is away, a call ends after `timeout_s` at most."""

    def __init__(self, redis: Redis, prefix: str, *, timeout_s: float = 2) -> None:
        self._redis = redis
        self._channels = Channels(prefix)
        self._best_effort = BestEffort(timeout_s)
        self.local_progress = LocalProgressCache()

    async def publish(self, *events: EventEnvelope, then: Sequence[Command] = ()) -> None:
        """Publishes the events in this order. A durable event must be committed already.

        `then`: commands that are sent after them, in the same round trip.
        """

        async def publish() -> None:
            commands = [command for event in events for command in self._publish_commands(event)]
            await send(self._redis, *commands, *(self._expire(job_id) for job_id in _ended_job_ids(events)), *then)

        if events or then:
            await self._best_effort.attempt(publish, otherwise=None)

    async def publish_preview(self, preview: ClipPreview, owner_id: str) -> None:
        await self.publish(EventEnvelope(preview, owner_id))

    async def publish_progress(self, progress: ClipProgress, owner_id: str) -> float:
        """Publishes a clip's progress, and stores it for clients that connect later.

        Does neither if newer progress of the clip is stored. Returns the highest progress of the whole job (0 to 1)
        that any worker has published; the published event never contains less.
        """

        async def publish() -> float:
            (job_progress,) = await send(self._redis, self._store_and_publish(progress, owner_id))
            return float(job_progress)

        self.local_progress.update(progress)
        return await self._best_effort.attempt(publish, otherwise=progress.job_progress)

    async def read_progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        """The latest progress of each job that is known to Redis or to this process.

        The progress may come from a worker that has lost its lease: use a clip's entry only if SQL has the same
        attempt for the clip.
        """

        async def read() -> dict[str, ProgressSnapshot]:
            answers = await send(self._redis, *(("HGETALL", self._channels.progress(job_id)) for job_id in job_ids))
            return {job_id: parse_progress(fields) for job_id, fields in zip(job_ids, answers, strict=True)}

        nothing: dict[str, ProgressSnapshot] = {}
        found = await self._best_effort.attempt(read, otherwise=nothing) if job_ids else nothing
        return {job_id: self.local_progress.merge(job_id, found.get(job_id, NO_PROGRESS)) for job_id in job_ids}

    async def find_active_subscriptions(self) -> ActiveSubscriptions:
        """What the clients of all processes follow now; empty while Redis is away, since nothing would reach them."""
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
        message = to_message(envelope.event)
        return (
            ("PUBLISH", self._channels.job(envelope.event.job_id), message),
            ("PUBLISH", self._channels.owner(envelope.owner_id), to_owner_message(envelope, message)),
        )


def _ended_job_ids(events: Iterable[EventEnvelope]) -> list[str]:
    return [envelope.event.job_id for envelope in events if envelope.event.type in TERMINAL_EVENT_TYPES]
