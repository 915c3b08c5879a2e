"""Wake-up calls between processes. A ring may get lost or arrive twice; SQL says what there is to do."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from phoenix.events.pubsub.redis_client import BestEffort, send
from phoenix.events.pubsub.subscriber import Line

OnRing = Callable[[str], None]
"""Called with the payload. An empty one only means "look"; it also follows an outage that may have lost rings."""


class Bell:
    """One channel on which processes wake each other."""

    def __init__(self, redis: Redis, channel: str, *, time_limit_s: float = 2) -> None:
        self._redis = redis
        self._channel = channel
        self._redis_may_be_away = BestEffort(time_limit_s)

    async def ring(self, payload: str = "") -> bool:
        """Wakes the listeners of all processes. Returns whether Redis took it; never raises because it did not."""

        async def publish() -> bool:
            await send(self._redis, ("PUBLISH", self._channel, payload))
            return True

        return await self._redis_may_be_away.attempt(publish, otherwise=False)

    @asynccontextmanager
    async def heard(self, line: Line, on_ring: OnRing) -> AsyncGenerator[None]:
        """Calls `on_ring`, on the event loop, for every ring during the block. That begins once Redis has acknowledged.

        If Redis is away the block begins all the same, and `on_ring("")` follows when Redis is back.
        """

        def on_message(_channel: str, message: bytes) -> None:
            on_ring(message.decode(errors="replace"))

        def on_gap() -> None:
            on_ring("")

        line.on_gap(on_gap)
        try:
            await line.listen(self._channel, on_message)
            try:
                yield
            finally:
                line.leave(self._channel, on_message)
        finally:
            line.leave_gap(on_gap)

    @asynccontextmanager
    async def waking(self, line: Line) -> AsyncGenerator[asyncio.Event]:
        """An event that every ring sets. Whoever waits for it must clear it before looking."""
        rung = asyncio.Event()
        async with self.heard(line, lambda _payload: rung.set()):
            yield rung
