"""The queue of one client, and a shortcut past it while it is empty."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from phoenix.contract.events import ClipProgress
from phoenix.events.messages import EncodedEvent


class Backlog:
    """The buffer of one client, or of one topic: at most `capacity` durable events, and as many of the others."""

    __slots__ = ("_capacity", "_durable", "_needs_refill", "_newest")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._durable: list[EncodedEvent] = []
        self._newest: dict[tuple[str, str, int | None], EncodedEvent] = {}
        self._needs_refill = False

    def put(self, encoded: EncodedEvent) -> None:
        if encoded.is_durable:
            self._put_durable(encoded)
        else:
            self._put_newest(encoded)

    def ask_for_refill(self) -> None:
        self._needs_refill = True

    def take(self) -> tuple[list[EncodedEvent], bool]:
        """Empties the buffer: the events, durable ones first, and whether more must be read from the log."""
        taken = [*self._durable, *self._newest.values()], self._needs_refill
        self._durable.clear()
        self._newest.clear()
        self._needs_refill = False
        return taken

    def __bool__(self) -> bool:
        return bool(self._durable or self._newest or self._needs_refill)

    def _put_durable(self, encoded: EncodedEvent) -> None:
        if self._needs_refill:
            return  # it is in the log, which is read when the client is ready for more
        if len(self._durable) >= self._capacity:
            self._durable.clear()
            self._needs_refill = True
            return
        self._durable.append(encoded)

    def _put_newest(self, encoded: EncodedEvent) -> None:
        key = (encoded.job_id, encoded.type, encoded.clip_index)
        held = self._newest.pop(key, None)
        if held is None and len(self._newest) >= self._capacity:
            # A reel may have more clips than fit: the oldest progress makes room, and its next step will follow.
            del self._newest[next(iter(self._newest))]
        self._newest[key] = held if held and _is_older(encoded, held) else encoded


def _is_older(encoded: EncodedEvent, held: EncodedEvent) -> bool:
    event, other = encoded.event, held.event
    if isinstance(event, ClipProgress) and isinstance(other, ClipProgress):
        return (event.attempt, event.step) < (other.attempt, other.step)
    return False


class Closing(Enum):
    JOB_GONE = auto()
    KEY_REVOKED = auto()
    SHUTDOWN = auto()


@dataclass(frozen=True)
class Delivery:
    """What has arrived since the last delivery."""

    events: list[EncodedEvent] = field(default_factory=list[EncodedEvent])
    needs_refill: bool = False
    """Whether durable events may be missing here, and must be read from the log."""
    is_heartbeat: bool = False
    closing: Closing | None = None


class Shortcut(Protocol):
    """Sends to a client with an empty mailbox, without waking its task. Returns False if it did not."""

    def tell(self, encoded: EncodedEvent) -> bool: ...
    def beat(self) -> bool: ...


class Mailbox:
    """Filled by the hub and emptied by one stream, both in the same event loop."""

    __slots__ = ("_backlog", "_closing", "_is_filled", "_is_heartbeat", "_shortcut", "_waiter")

    def __init__(self, capacity: int) -> None:
        self._backlog = Backlog(capacity)
        self._is_heartbeat = False
        self._closing: Closing | None = None
        self._is_filled = False
        # Not an `asyncio.Event`, which takes nearly a kilobyte for waiters: there is one, but on ten thousand streams.
        self._waiter: asyncio.Future[None] | None = None
        # Set only while the mailbox is empty and its stream waits, so that nothing sent this way overtakes anything.
        self._shortcut: Shortcut | None = None

    def put(self, encoded: EncodedEvent) -> None:
        if self._shortcut is None or not self._shortcut.tell(encoded):
            self._backlog.put(encoded)
            self._wake()

    def ask_for_refill(self) -> None:
        self._backlog.ask_for_refill()
        self._wake()

    def beat(self) -> None:
        if self._shortcut is None or not self._shortcut.beat():
            self._is_heartbeat = True
            self._wake()

    def close(self, closing: Closing) -> None:
        self._closing = self._closing or closing
        self._wake()

    async def wait(self, shortcut: Shortcut | None = None) -> Delivery:
        """Everything since the last delivery, as soon as there is something that `shortcut` did not take."""
        if not self._is_filled:
            self._shortcut = shortcut
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._shortcut = self._waiter = None
        return self._empty()

    def _wake(self) -> None:
        self._shortcut = None
        self._is_filled = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _empty(self) -> Delivery:
        events, needs_refill = self._backlog.take()
        delivery = Delivery(events, needs_refill, self._is_heartbeat, self._closing)
        self._is_heartbeat = self._is_filled = False
        return delivery
