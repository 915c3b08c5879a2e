"""The queue of one client, and a shortcut past it while it is empty."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from phoenix.events.backlog import Backlog
from phoenix.events.encoding import EncodedEvent


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
