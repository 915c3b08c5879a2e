"""What waits to be sent to one client: bounded, loses no durable event, keeps only the newest progress."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from phoenix.contract.events import ClipProgress
from phoenix.events.doorbell import EncodedEvent


class Closing(Enum):
    JOB_GONE = auto()
    SHUTDOWN = auto()


@dataclass(frozen=True)
class Delivery:
    """What has come since the last time."""

    events: list[EncodedEvent] = field(default_factory=list[EncodedEvent])
    needs_refill: bool = False
    """Durable events may be missing here: read those that follow from the log."""
    is_heartbeat: bool = False
    closing: Closing | None = None


class Mailbox:
    """Filled by the hub and emptied by one stream, both in the same event loop."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._durable: list[EncodedEvent] = []
        self._newest: dict[tuple[str, str, int | None], EncodedEvent] = {}
        self._needs_refill = False
        self._is_heartbeat = False
        self._closing: Closing | None = None
        self._filled = asyncio.Event()

    def put(self, encoded: EncodedEvent) -> None:
        if encoded.is_durable:
            self._put_durable(encoded)
        else:
            self._put_newest(encoded)
        self._filled.set()

    def ask_for_refill(self) -> None:
        self._needs_refill = True
        self._filled.set()

    def beat(self) -> None:
        self._is_heartbeat = True
        self._filled.set()

    def close(self, closing: Closing) -> None:
        self._closing = self._closing or closing
        self._filled.set()

    async def wait(self) -> Delivery:
        """All that has come since the last time, as soon as there is something."""
        await self._filled.wait()
        return self._empty()

    def _put_durable(self, encoded: EncodedEvent) -> None:
        if self._needs_refill:
            return  # the log has it, and will be read when the client is ready for more
        if len(self._durable) >= self._capacity:
            self._durable.clear()
            self._needs_refill = True
            return
        self._durable.append(encoded)

    def _put_newest(self, encoded: EncodedEvent) -> None:
        key = (encoded.job_id, encoded.type, encoded.clip_index)
        held = self._newest.pop(key, None)
        if held is None and len(self._newest) >= self._capacity:
            # A reel may have more clips than places: the one that waited longest makes room, its next step follows.
            del self._newest[next(iter(self._newest))]
        self._newest[key] = held if held and _is_older(encoded, held) else encoded

    def _empty(self) -> Delivery:
        delivery = Delivery(
            [*self._durable, *self._newest.values()], self._needs_refill, self._is_heartbeat, self._closing
        )
        self._durable.clear()
        self._newest.clear()
        self._needs_refill = self._is_heartbeat = False
        self._filled.clear()
        return delivery


def _is_older(encoded: EncodedEvent, held: EncodedEvent) -> bool:
    event, other = encoded.event, held.event
    if isinstance(event, ClipProgress) and isinstance(other, ClipProgress):
        return (event.attempt, event.step) < (other.attempt, other.step)
    return False
