"""Publishes events after their commit, and stores the latest progress of each clip. Never raises because of Redis.

Each event is published twice: for followers of its job, and for followers of all jobs of its owner.
"""

from collections.abc import Collection, Iterable, Mapping

from redis.asyncio import Redis

from phoenix.contract.events import TERMINAL_EVENT_TYPES, ClipPreview, ClipProgress
from phoenix.events.messages import Owned, to_message, to_owner_message
from phoenix.events.progress_cache import NOTHING_TOLD, TELL, Recollection, Told, read_told
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.redis_client import BestEffort, Command, send

# Long enough for the slowest step; a job that is alive renews it with every step.
_PROGRESS_LIFE_S = 24 * 3600
# For a job that has ended: clients that missed its end reconnect within this time, or read SQL.
_ENDED_LIFE_S = 600


class EventPublisher:
    """While Redis is away, calls return at once or after the time limit."""

    def __init__(self, redis: Redis, prefix: str, *, time_limit_s: float = 2) -> None:
        self._redis = redis
        self._channels = Channels(prefix)
        self._redis_may_be_away = BestEffort(time_limit_s)
        self.recollection = Recollection()

    async def publish(self, *events: Owned) -> None:
        """Publishes events in the given order: durable ones after their commit, and ephemeral ones."""

        async def publish() -> None:
            doorbells = [doorbell for event in events for doorbell in self._doorbells(event)]
            await send(self._redis, *doorbells, *(self._expire(job_id) for job_id in _ended(events)))

        if events:
            await self._redis_may_be_away.attempt(publish, otherwise=None)

    async def publish_preview(self, preview: ClipPreview, owner_id: str) -> None:
        await self.publish(Owned(preview, owner_id))

    async def publish_progress(self, progress: ClipProgress, owner_id: str) -> float:
        """Publishes a clip's progress, and stores it for clients that connect later, unless newer progress is stored.

        Returns the job's progress as published so far by any worker; what is published never says less.
        """

        async def publish() -> float:
            (share,) = await send(self._redis, self._tell(progress, owner_id))
            return float(share)

        self.recollection.note(progress)
        return await self._redis_may_be_away.attempt(publish, otherwise=progress.job_progress)

    async def read_progress(self, job_ids: Collection[str]) -> Mapping[str, Told]:
        """The latest progress of each job, as far as Redis or this process knows.

        It may come from a worker that has lost its lease: trust a clip's entry only if its attempt is the one that
        SQL has for the clip.
        """

        async def read() -> dict[str, Told]:
            answers = await send(self._redis, *(("HGETALL", self._channels.progress(job_id)) for job_id in job_ids))
            return {job_id: read_told(fields) for job_id, fields in zip(job_ids, answers, strict=True)}

        nothing: dict[str, Told] = {}
        found = await self._redis_may_be_away.attempt(read, otherwise=nothing) if job_ids else nothing
        return {job_id: self.recollection.complete(job_id, found.get(job_id, NOTHING_TOLD)) for job_id in job_ids}

    def _tell(self, progress: ClipProgress, owner_id: str) -> Command:
        owned = Owned(progress, owner_id)
        (_, job_channel, message), (_, owner_channel, owner_message) = self._doorbells(owned)
        key, place = self._channels.progress(progress.job_id), (progress.clip_index, progress.attempt)
        shares = (str(progress.progress), str(progress.job_progress))
        messages = (message, owner_message, job_channel, owner_channel)
        return ("EVAL", TELL, 1, key, *place, *shares, *messages, _PROGRESS_LIFE_S)

    def _expire(self, job_id: str) -> Command:
        return ("EXPIRE", self._channels.progress(job_id), _ENDED_LIFE_S)

    def _doorbells(self, owned: Owned) -> tuple[Command, Command]:
        return (
            ("PUBLISH", self._channels.job(owned.event.job_id), to_message(owned.event)),
            ("PUBLISH", self._channels.owner(owned.owner_id), to_owner_message(owned)),
        )


def _ended(events: Iterable[Owned]) -> list[str]:
    return [owned.event.job_id for owned in events if owned.event.type in TERMINAL_EVENT_TYPES]
