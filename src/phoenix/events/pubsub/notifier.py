"""Wake-up notifications between processes. A notification may get lost or arrive twice; SQL has the work to do."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from phoenix.events.pubsub.redis_client import BestEffort, Command, send
from phoenix.events.pubsub.subscriber import PubSubSubscriber

OnNotify = Callable[[str], None]
"""Called with the payload. After an outage of Redis it is called with an empty payload, which means "look"."""


class Notifier:
    """One channel on which processes wake each other."""

    def __init__(self, redis: Redis, channel: str, *, timeout_s: float = 2) -> None:
        self._redis = redis
        self._channel = channel
        self._best_effort = BestEffort(timeout_s)

    @property
    def wake_command(self) -> Command:
        """What `notify` sends without a payload, for callers that send other commands at the same time."""
        return ("PUBLISH", self._channel, "")

    async def notify(self, payload: str = "") -> bool:
        """Wakes the listeners of all processes. Returns whether Redis took the notification; does not raise if not."""

        async def publish() -> bool:
            await send(self._redis, ("PUBLISH", self._channel, payload))
            return True

        return await self._best_effort.attempt(publish, otherwise=False)

    @asynccontextmanager
    async def subscribe(self, subscriber: PubSubSubscriber, on_notify: OnNotify) -> AsyncGenerator[None]:
        """Calls `on_notify`, on the event loop, for each notification during the block.

        The block begins once Redis has acknowledged the subscription. If Redis is away, the block begins without it,
        and `on_notify("")` is called when Redis is back.
        """

        def on_message(_channel: str, message: bytes) -> None:
            on_notify(message.decode(errors="replace"))

        def on_reconnect() -> None:
            on_notify("")

        subscriber.add_on_reconnect(on_reconnect)
        try:
            await subscriber.subscribe(self._channel, on_message)
            try:
                yield
            finally:
                subscriber.unsubscribe(self._channel, on_message)
        finally:
            subscriber.remove_on_reconnect(on_reconnect)

    @asynccontextmanager
    async def wake_event(self, subscriber: PubSubSubscriber) -> AsyncGenerator[asyncio.Event]:
        """An event that every notification sets. A waiter must clear the event before it looks for work."""
        wake_event = asyncio.Event()
        async with self.subscribe(subscriber, lambda _payload: wake_event.set()):
            yield wake_event
