"""The services of one Phoenix process, opened from its settings and closed in reverse order."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.db import Ballast, Database, SecretCipher, database_url, open_engine
from phoenix.db.engine import find_sqlite_file
from phoenix.events.publisher import EventPublisher
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.redis_client import open_redis
from phoenix.jobs.post_commit import PostCommitPublisher
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import FleetCache
from phoenix.jobs.submission.admission_control import QueueCapacity
from phoenix.queues.arq_queue import ArqTaskQueue
from phoenix.queues.queue import TaskQueue
from phoenix.settings import Settings
from phoenix.storage.reserve import StorageReserve
from phoenix.storage.store import ArtifactStore, find_local_folder, open_store

# Imported, because a purge deletes from all tables that were imported.
from phoenix.storyboards import tables as storyboard_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]

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
    reserve: StorageReserve
    queue_positions: QueuePositions
    fleet: FleetCache
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
        timeout_s = settings.redis.socket_timeout_s
        publisher = EventPublisher(redis, settings.redis.prefix, timeout_s=timeout_s)
        channels = Channels(settings.redis.prefix)
        post_commit = PostCommitPublisher(
            redis=redis, channels=channels, publisher=publisher, store=store, timeout_s=timeout_s
        )
        database = open_database(settings, post_commit, kept_connections=kept_connections)
        stack.push_async_callback(database.close)
        reserve = open_reserve(settings)
        queue_positions = QueuePositions(
            database, clips_per_key=settings.limits.running_clips_per_key, find_shortage=reserve.find_shortage
        )
        post_commit.add_on_commit(queue_positions.record_commit)
        fleet = FleetCache(database)
        post_commit.add_on_commit(fleet.record_commit)
        yield Services(
            settings=settings,
            catalog=catalog,
            database=database,
            redis=redis,
            channels=channels,
            publisher=publisher,
            queue=queue,
            store=store,
            reserve=reserve,
            queue_positions=queue_positions,
            fleet=fleet,
        )


def open_database(
    settings: Settings, post_commit: PostCommitPublisher | None = None, *, kept_connections: int | None = None
) -> Database:
    """The database alone, for a thread or process that needs nothing else; `kept_connections` as in `open_services`."""
    url = database_url(settings.database, settings.data_dir)
    engine = open_engine(url, settings.database, kept_connections=kept_connections)
    cipher = SecretCipher([key.get_secret_value() for key in settings.database.encryption_keys])
    file = find_sqlite_file(url)
    ballast = Ballast(file) if file else None
    if post_commit is None:
        return Database(engine, cipher=cipher, ballast=ballast)
    return Database(engine, post_commit, cipher, ballast)


def open_reserve(settings: Settings) -> StorageReserve:
    """The reserve of the disks that this process can see: of a folder store, and of a SQLite file."""
    file = find_sqlite_file(database_url(settings.database, settings.data_dir))
    folders: dict[str, Path] = {"database": file.parent} if file else {}
    store = find_local_folder(settings.storage, default_folder=settings.data_dir / "artifacts")
    if store is not None:
        folders["storage"] = store
    return StorageReserve(folders, settings.storage.reserve_bytes)


def redis_url(settings: Settings) -> str:
    return settings.redis.url or LOCAL_REDIS_URL
