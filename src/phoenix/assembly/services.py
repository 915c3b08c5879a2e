"""The services of one Phoenix process, opened from its settings and closed in reverse order."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis

from phoenix.catalog.model import Catalog, load_catalog
from phoenix.db.engine import database_url, open_engine
from phoenix.db.unit_of_work import Database
from phoenix.errors import PhoenixError
from phoenix.events.messages import EventEnvelope
from phoenix.events.publisher import EventPublisher
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.notifier import Notifier
from phoenix.events.pubsub.redis_client import open_redis
from phoenix.jobs.post_commit import EventRecorded, FilesOrphaned, StopRequested, TasksReady
from phoenix.jobs.scheduling.position import QueuePositions
from phoenix.jobs.submission.admission_control import QueueCapacity
from phoenix.queues.arq_queue import ArqTaskQueue
from phoenix.queues.queue import TaskQueue
from phoenix.settings import Settings
from phoenix.storage.open import open_store
from phoenix.storage.store import ArtifactStore
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class PostCommitPublisher:
    """Publishes events, wakes the dispatcher and the workers, and deletes files that lost their rows."""

    def __init__(self, *, redis: Redis, channels: Channels, publisher: EventPublisher, store: ArtifactStore) -> None:
        self._publisher = publisher
        self._store = store
        self._tasks_ready = Notifier(redis, channels.tasks_ready)
        self._stop = Notifier(redis, channels.stop)

    async def __call__(self, events: Sequence[object]) -> None:
        try:
            await self._deliver(events)
        except Exception:
            # The lease reaper, the dispatcher and heartbeats find on their own what failed here.
            _logger.exception("the post-commit events could not be delivered")

    async def _deliver(self, events: Sequence[object]) -> None:
        recorded = [each for each in events if isinstance(each, EventRecorded)]
        await self._publisher.publish(*(EventEnvelope(each.event, each.owner_id, each.owner_seq) for each in recorded))
        for event in events:
            if isinstance(event, StopRequested):
                await self._stop.notify(event.task_id)
            elif isinstance(event, FilesOrphaned):
                await self._delete(event.keys)
        if any(isinstance(each, TasksReady) for each in events):
            await self._tasks_ready.notify()

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self._store.delete(key)
            except PhoenixError as error:
                # Retention deletes files without rows later.
                _logger.warning("orphaned file not deleted", key=key, error=error.detail)
            except Exception:
                # One malformed key must not keep the others from being deleted.
                _logger.exception("orphaned file not deleted", key=key)


LOCAL_REDIS_URL = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True)
class Services:
    """Opened once per process and event loop, by the API and by a worker alike."""

    settings: Settings
    catalog: Catalog
    database: Database
    redis: Redis
    channels: Channels
    publisher: EventPublisher
    queue: TaskQueue
    store: ArtifactStore
    queue_positions: QueuePositions
    queue_capacity: QueueCapacity = field(default_factory=QueueCapacity)


@asynccontextmanager
async def open_services(settings: Settings, *, kept_connections: int | None = None) -> AsyncGenerator[Services]:
    """Opens everything but connects to nothing yet, so that a replica can start while Redis or the database is away.

    `kept_connections`: database connections that stay open while idle; `database.pool_size` if None.
    """
    catalog = load_catalog(settings.engine.catalog_file)
    store = open_store(settings.storage, default_folder=settings.data_dir / "artifacts")
    async with AsyncExitStack() as stack:
        redis = open_redis(redis_url(settings), socket_timeout_s=settings.redis.socket_timeout_s)
        stack.push_async_callback(redis.aclose)
        queue = ArqTaskQueue(redis, settings.redis.prefix)
        publisher = EventPublisher(redis, settings.redis.prefix)
        channels = Channels(settings.redis.prefix)
        post_commit = PostCommitPublisher(redis=redis, channels=channels, publisher=publisher, store=store)
        database = open_database(settings, post_commit, kept_connections=kept_connections)
        stack.push_async_callback(database.close)
        queue_positions = QueuePositions(database, clips_per_key=settings.limits.running_clips_per_key)
        yield Services(settings, catalog, database, redis, channels, publisher, queue, store, queue_positions)


def open_database(
    settings: Settings, post_commit: PostCommitPublisher | None = None, *, kept_connections: int | None = None
) -> Database:
    """The database alone, for a thread or process that needs nothing else; `kept_connections` as in `open_services`."""
    url = database_url(settings.database, settings.data_dir)
    engine = open_engine(url, settings.database, kept_connections=kept_connections)
    return Database(engine, post_commit) if post_commit else Database(engine)


def redis_url(settings: Settings) -> str:
    return settings.redis.url or LOCAL_REDIS_URL
