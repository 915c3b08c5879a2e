"""Acts on what a committed transaction announces. A failure here must not fail work that is already committed."""

from collections.abc import Sequence

from redis.asyncio import Redis

from phoenix.errors import PhoenixError
from phoenix.events.bells import Bell
from phoenix.events.channels import Channels
from phoenix.events.owned import Owned
from phoenix.events.publisher import EventPublisher
from phoenix.jobs.announcements import EventRecorded, FilesOrphaned, StopRequested, TasksReady
from phoenix.storage.store import ArtifactStore
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class Announcing:
    """Publishes events, rings the feeder's and the workers' bells, and deletes files that lost their rows."""

    def __init__(self, *, redis: Redis, channels: Channels, publisher: EventPublisher, store: ArtifactStore) -> None:
        self._publisher = publisher
        self._store = store
        self._feed = Bell(redis, channels.feed)
        self._stop = Bell(redis, channels.stop)

    async def __call__(self, announcements: Sequence[object]) -> None:
        try:
            await self._announce(announcements)
        except Exception:
            # Sweeper, feeder and heartbeats find on their own what was not announced.
            _logger.exception("what was committed could not be announced")

    async def _announce(self, announcements: Sequence[object]) -> None:
        recorded = [each for each in announcements if isinstance(each, EventRecorded)]
        await self._publisher.publish(*(Owned(each.event, each.owner_id, each.owner_seq) for each in recorded))
        for announcement in announcements:
            if isinstance(announcement, StopRequested):
                await self._stop.ring(announcement.task_id)
            elif isinstance(announcement, FilesOrphaned):
                await self._delete(announcement.keys)
        if any(isinstance(each, TasksReady) for each in announcements):
            await self._feed.ring()

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self._store.delete(key)
            except PhoenixError as error:
                # The janitor deletes files without rows later.
                _logger.warning("orphaned file not deleted", key=key, error=error.detail)
            except Exception:
                # One malformed key must not keep the others from being deleted.
                _logger.exception("orphaned file not deleted", key=key)
