"""The life of one pub/sub connection: keeps Redis's subscriptions in line with the wanted ones, and reads messages.

It ends with an exception as soon as the connection is lost or silent for too long; `line` then starts another.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from phoenix.events import redis_client


class SessionOwner(Protocol):
    """What a session needs from, and reports to, the line that it serves."""

    @property
    def wanted(self) -> Collection[str]: ...
    def session_opened(self) -> None: ...
    def session_caught_up(self) -> None:
        """Called when every channel wanted at the start has been acknowledged."""
        ...

    def session_acknowledged(self, channel: str) -> None: ...
    def session_received(self, channel: str, message: bytes) -> None: ...


class Session:
    """Reads and writes one connection at the same time, so both ends of it live here."""

    def __init__(self, redis: Redis, owner: SessionOwner, *, silence_s: float) -> None:
        self._pubsub = redis_client.open_pubsub(redis)
        self._owner = owner
        self._silence_s = silence_s
        self._changed = asyncio.Event()
        self._requested: set[str] = set()
        # Outstanding acknowledgements: a channel that is left and wanted again within a round trip has two.
        self._unanswered: Counter[str] = Counter()
        self._missing_at_start: set[str] = set()

    async def run(self) -> None:
        """Never returns; raises `RedisError`, `OSError` or an `ExceptionGroup` of them."""
        try:
            async with asyncio.timeout(self._silence_s):
                await self._pubsub.connect()
            self._owner.session_opened()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(), name="events-line-write")
                tasks.create_task(self._read(), name="events-line-read")
        finally:
            await self._pubsub.aclose()

    def wanted_changed(self) -> None:
        self._changed.set()

    def has_acknowledged(self, channel: str) -> bool:
        return channel in self._requested and not self._unanswered[channel]

    async def _write(self) -> None:
        self._missing_at_start = set(self._owner.wanted)
        self._catch_up()
        while True:
            self._changed.clear()
            wanted = set(self._owner.wanted)
            if gone := self._requested - wanted:
                self._requested -= gone
                await redis_client.unsubscribe(self._pubsub, gone)
            if new := wanted - self._requested:
                self._requested |= new
                self._unanswered.update(new)
                await redis_client.subscribe(self._pubsub, new)
            await self._changed.wait()

    async def _read(self) -> None:
        is_asked = False
        while True:
            arrived = await redis_client.next_message(self._pubsub, self._silence_s)
            if arrived is not None:
                is_asked = False
                self._arrived(*arrived)
            elif is_asked:
                raise RedisConnectionError(f"no answer within {self._silence_s} s")
            else:
                # Half-open connections stay silent forever: a reader is not told that its peer is gone.
                is_asked = True
                await redis_client.ping(self._pubsub)

    def _arrived(self, kind: str, channel: str, message: bytes) -> None:
        if kind == "message":
            self._owner.session_received(channel, message)
        elif kind == "subscribe":
            self._unanswered[channel] -= 1
            if not self._unanswered[channel]:
                del self._unanswered[channel]
            if self.has_acknowledged(channel):
                self._owner.session_acknowledged(channel)
            if self._missing_at_start:
                self._missing_at_start.discard(channel)
                self._catch_up()

    def _catch_up(self) -> None:
        if not self._missing_at_start:
            self._owner.session_caught_up()
