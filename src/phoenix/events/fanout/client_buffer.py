"""The event buffer of one client, and a fast path past it while it is empty."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from phoenix.contract.events import ClipProgress
from phoenix.events.messages import EncodedEvent


class EventBuffer:
    """The buffer of one client, or of one topic: at most `capacity` durable events, and as many of the others."""

    __slots__ = ("_capacity", "_durable", "_needs_resync", "_newest")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._durable: list[EncodedEvent] = []
        self._newest: dict[tuple[str, str, int | None], EncodedEvent] = {}
        self._needs_resync = False

    def put(self, encoded: EncodedEvent) -> None:
        if encoded.is_durable:
            self._put_durable(encoded)
        else:
            self._put_newest(encoded)

    def request_resync(self) -> None:
        self._needs_resync = True

    def take(self) -> tuple[list[EncodedEvent], bool]:
        """Empties the buffer: the events, durable ones first, and whether more must be read from the log."""
        taken = [*self._durable, *self._newest.values()], self._needs_resync
        self._durable.clear()
        self._newest.clear()
        self._needs_resync = False
        return taken

    def __bool__(self) -> bool:
        return bool(self._durable or self._newest or self._needs_resync)

    def _put_durable(self, encoded: EncodedEvent) -> None:
        if self._needs_resync:
            return  # it is in the log, which is read when the client is ready for more
        if len(self._durable) >= self._capacity:
            self._durable.clear()
            self._needs_resync = True
            return
        self._durable.append(encoded)

    def _put_newest(self, encoded: EncodedEvent) -> None:
        key = (encoded.job_id, encoded.type, encoded.clip_index)
        buffered = self._newest.pop(key, None)
        if buffered is None and len(self._newest) >= self._capacity:
            # A reel may have more clips than fit: the oldest progress is dropped, and its next step will follow.
            del self._newest[next(iter(self._newest))]
        self._newest[key] = buffered if buffered and _is_older(encoded, buffered) else encoded


def _is_older(encoded: EncodedEvent, buffered: EncodedEvent) -> bool:
    event, other = encoded.event, buffered.event
    if isinstance(event, ClipProgress) and isinstance(other, ClipProgress):
        return (event.attempt, event.step) < (other.attempt, other.step)
    return False


class CloseReason(Enum):
    JOB_GONE = auto()
    KEY_REVOKED = auto()
    SHUTDOWN = auto()


@dataclass(frozen=True)
class EventBatch:
    """What has arrived since the last batch."""

    events: list[EncodedEvent] = field(default_factory=list[EncodedEvent])
    needs_resync: bool = False
    """Whether durable events may be missing here, and must be read from the log."""
    is_heartbeat: bool = False
    close_reason: CloseReason | None = None


class FastPath(Protocol):
    """Sends to a client with an empty buffer, without waking its task. Returns False if it did not."""

    def send(self, encoded: EncodedEvent) -> bool: ...
    def send_heartbeat(self) -> bool: ...


class ClientBuffer:
    """Filled by the hub and emptied by one stream, both in the same event loop."""

    __slots__ = ("_close_reason", "_event_buffer", "_fast_path", "_is_filled", "_is_heartbeat", "_waiter")

    def __init__(self, capacity: int) -> None:
        self._event_buffer = EventBuffer(capacity)
        self._is_heartbeat = False
        self._close_reason: CloseReason | None = None
        self._is_filled = False
        # Not an `asyncio.Event`, which takes nearly a kilobyte for waiters: there is one, but on ten thousand streams.
        self._waiter: asyncio.Future[None] | None = None
        # Set only while the buffer is empty and its stream waits, so that nothing sent this way overtakes anything.
        self._fast_path: FastPath | None = None

    def put(self, encoded: EncodedEvent) -> None:
        if self._fast_path is None or not self._fast_path.send(encoded):
            self._event_buffer.put(encoded)
            self._wake()

    def request_resync(self) -> None:
        self._event_buffer.request_resync()
        self._wake()

    def put_heartbeat(self) -> None:
        if self._fast_path is None or not self._fast_path.send_heartbeat():
            self._is_heartbeat = True
            self._wake()

    def close(self, close_reason: CloseReason) -> None:
        self._close_reason = self._close_reason or close_reason
        self._wake()

    async def wait(self, fast_path: FastPath | None = None) -> EventBatch:
        """Everything since the last batch, as soon as there is something that `fast_path` did not take."""
        if not self._is_filled:
            self._fast_path = fast_path
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._fast_path = self._waiter = None
        return self._take_batch()

    def _wake(self) -> None:
        self._fast_path = None
        self._is_filled = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_batch(self) -> EventBatch:
        events, needs_resync = self._event_buffer.take()
        batch = EventBatch(events, needs_resync, self._is_heartbeat, self._close_reason)
        self._is_heartbeat = self._is_filled = False
        return batch
