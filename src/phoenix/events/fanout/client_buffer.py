"""The bounded event buffer of one client, and the fast path that bypasses the buffer while it is empty."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from phoenix.contract import ClipProgress
from phoenix.events.messages import EncodedEvent


class EventBuffer:
    """Holds at most `capacity` durable events, and at most `capacity` ephemeral ones, for one client or one topic.

    If there are more durable events, all of them are dropped and must be read from the log. Of the ephemeral events of
    one type and clip, only the newest is kept.
    """

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
        """Marks that events must be read from the log."""
        self._needs_resync = True

    def take(self) -> tuple[list[EncodedEvent], bool]:
        """Empties the buffer. Returns its events, durable ones first, and whether more must be read from the log."""
        taken = [*self._durable, *self._newest.values()], self._needs_resync
        self._durable.clear()
        self._newest.clear()
        self._needs_resync = False
        return taken

    def __bool__(self) -> bool:
        return bool(self._durable or self._newest or self._needs_resync)

    def _put_durable(self, encoded: EncodedEvent) -> None:
        if self._needs_resync:
            return  # the event is in the log, and the log is read when the client is ready for more
        if len(self._durable) >= self._capacity:
            self._durable.clear()
            self._needs_resync = True
            return
        self._durable.append(encoded)

    def _put_newest(self, encoded: EncodedEvent) -> None:
        key = (encoded.job_id, encoded.type, encoded.clip_index)
        buffered = self._newest.pop(key, None)
        if buffered is None and len(self._newest) >= self._capacity:
            # A reel may have more clips than the capacity. The oldest progress is dropped; newer progress will follow.
            del self._newest[next(iter(self._newest))]
        self._newest[key] = buffered if buffered and _is_older(encoded, buffered) else encoded


def _is_older(encoded: EncodedEvent, buffered: EncodedEvent) -> bool:
    event, other = encoded.event, buffered.event
    if isinstance(event, ClipProgress) and isinstance(other, ClipProgress):
        return (event.attempt, event.step) < (other.attempt, other.step)
    return False


class CloseReason(Enum):
    """Why the hub ends a stream."""

    JOB_GONE = auto()
    KEY_REVOKED = auto()
    SHUTDOWN = auto()


@dataclass(frozen=True)
class EventBatch:
    """What has arrived since the last batch."""

    events: list[EncodedEvent] = field(default_factory=list[EncodedEvent])
    needs_resync: bool = False
    """Whether durable events may be missing from `events`, and must be read from the log."""
    is_heartbeat: bool = False
    close_reason: CloseReason | None = None


class FastPath(Protocol):
    """Sends to a client with an empty buffer without waking the task of its stream."""

    def send(self, encoded: EncodedEvent) -> bool:
        """Returns whether the event was handled; if not, it goes into the buffer."""
        ...

    def send_heartbeat(self) -> bool:
        """Returns whether the heartbeat was sent; if not, the stream's task sends it."""
        ...


class ClientBuffer:
    """The hub fills it, and one stream empties it, both in the same event loop."""

    __slots__ = ("_close_reason", "_event_buffer", "_fast_path", "_is_filled", "_is_heartbeat", "_waiter")

    def __init__(self, capacity: int) -> None:
        self._event_buffer = EventBuffer(capacity)
        self._is_heartbeat = False
        self._close_reason: CloseReason | None = None
        self._is_filled = False
        # Not an `asyncio.Event`: its list of waiters takes nearly a kilobyte, and there may be ten thousand streams.
        self._waiter: asyncio.Future[None] | None = None
        # Set only while the buffer is empty and its stream waits, so that an event sent at once overtakes no other.
        self._fast_path: FastPath | None = None

    def put(self, encoded: EncodedEvent) -> None:
        """Sends the event through the fast path if there is one, and buffers it otherwise."""
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
        """Ends the stream after the buffered events. The first reason counts."""
        self._close_reason = self._close_reason or close_reason
        self._wake()

    async def wait(self, fast_path: FastPath | None = None) -> EventBatch:
        """Waits until the buffer has something, and returns it. Until then `fast_path` may send events at once."""
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
