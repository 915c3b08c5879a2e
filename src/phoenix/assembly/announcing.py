"""Who hears what a committed transaction has to say. Nothing here may fail the work that was committed."""

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
            # Sweeper, feeder and heartbeats find by themselves what was not announced.
            _logger.exception("what was committed could not be announced")

    async def _announce(self, announcements: Sequence[object]) -> None:
        recorded = [said for said in announcements if isinstance(said, EventRecorded)]
        await self._publisher.publish(*(Owned(said.event, said.owner_id, said.owner_seq) for said in recorded))
        for said in announcements:
            if isinstance(said, StopRequested):
                await self._stop.ring(said.task_id)
            elif isinstance(said, FilesOrphaned):
                await self._delete(said.keys)
        if any(isinstance(said, TasksReady) for said in announcements):
            await self._feed.ring()

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self._store.delete(key)
            except PhoenixError as error:
                # The retention sweep looks for files without rows.
                _logger.warning("orphaned file not deleted", key=key, error=error.detail)
            except Exception:
                # A key that is none of ours must not keep the others from being deleted.
                _logger.exception("orphaned file not deleted", key=key)
