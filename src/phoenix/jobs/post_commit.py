"""What follows a commit: the events that a transaction publishes, and their delivery.

Use cases call `UnitOfWork.publish_after_commit` with these events. `Database.write` passes the events of a committed
transaction to `PostCommitPublisher`. Nothing depends on the delivery: if it fails, the lease reaper, the dispatcher,
a heartbeat or a stream's check of its log finds the change later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from phoenix.errors import PhoenixError
from phoenix.events.messages import EventEnvelope
from phoenix.events.publisher import EventPublisher
from phoenix.events.pubsub.channels import Channels, KeysChanged
from phoenix.events.pubsub.notifier import Notifier
from phoenix.storage.store import ArtifactStore
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


@dataclass(frozen=True)
class TasksReady:
    """Tasks became ready, or a slot became free: the dispatcher should look."""


@dataclass(frozen=True)
class StopRequested:
    """The running attempt of this task should end. Its worker also reads the request at its next renewal."""

    task_id: str


@dataclass(frozen=True)
class WorkerOrdered:
    """This worker has something to do. It also reads its orders at its next heartbeat."""

    worker_id: str


@dataclass(frozen=True)
class FilesOrphaned:
    """These keys of the store no longer have a row."""

    keys: tuple[str, ...]


class PostCommitPublisher:
    """Publishes events and changes of keys, wakes the dispatcher and the workers, deletes files without rows."""

    def __init__(
        self, *, redis: Redis, channels: Channels, publisher: EventPublisher, store: ArtifactStore, timeout_s: float
    ) -> None:
        self._publisher = publisher
        self._channels = channels
        self._store = store
        self._undeleted = FailureEpisode(_logger, "orphaned file not deleted", "orphaned files are deleted again")
        self._tasks_ready = Notifier(redis, channels.tasks_ready)
        self._stop = Notifier(redis, channels.stop, timeout_s=timeout_s)
        self._listeners: list[Callable[[], None]] = []

    def add_on_commit(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each commit of this process that changed a job. It must neither block nor raise."""
        self._listeners.append(listener)

    async def __call__(self, events: Sequence[object]) -> None:
        """Delivers the events of one transaction. Raises nothing: the transaction has been committed."""
        for listener in self._listeners:
            listener()
        try:
            await self._deliver(events)
        except Exception:
            _logger.exception("the post-commit events could not be delivered")

    async def _deliver(self, events: Sequence[object]) -> None:
        wakes = [self._tasks_ready.wake_command] if any(isinstance(each, TasksReady) for each in events) else []
        changed = [
            command for each in events if isinstance(each, KeysChanged) for command in each.commands(self._channels)
        ]
        envelopes = (each for each in events if isinstance(each, EventEnvelope))
        await self._publisher.publish(*envelopes, then=[*wakes, *changed])
        for event in events:
            if isinstance(event, StopRequested):
                await self._stop.notify(event.task_id)
            elif isinstance(event, WorkerOrdered):
                await self._stop.notify(event.worker_id)
            elif isinstance(event, FilesOrphaned):
                await self._delete(event.keys)

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self._store.delete(key)
            except Exception as error:  # noqa: BLE001 - the failure episode logs it
                # Retention deletes files without rows later. One malformed key must not keep the others.
                self._undeleted.fail(error, is_unexpected=not isinstance(error, PhoenixError), key=key)
            else:
                self._undeleted.end()
