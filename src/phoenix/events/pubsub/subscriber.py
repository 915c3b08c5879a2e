"""One pub/sub connection per process: counts listeners, awaits acknowledgements, survives outages."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from phoenix.events.pubsub import redis_client
from phoenix.telemetry.logs import get_logger


class ConnectionOwner(Protocol):
    """What a connection needs from its subscriber, and reports to it."""

    @property
    def wanted(self) -> Collection[str]: ...
    def connection_opened(self) -> None: ...
    def connection_caught_up(self) -> None:
        """Called when every channel wanted at the start has been acknowledged."""
        ...

    def connection_acknowledged(self, channel: str) -> None: ...
    def connection_received(self, channel: str, message: bytes) -> None: ...


class PubSubConnection:
    """Reads and writes one connection at the same time, so both ends of it live here."""

    def __init__(self, redis: Redis, owner: ConnectionOwner, *, silence_s: float) -> None:
        self._pubsub = redis_client.open_pubsub(redis)
        self._owner = owner
        self._silence_s = silence_s
        self._changed = asyncio.Event()
        self._requested: set[str] = set()
        # Outstanding acknowledgements: a channel that is left and wanted again within a round trip has two.
        self._pending_acks: Counter[str] = Counter()
        self._missing_at_start: set[str] = set()

    async def run(self) -> None:
        """Never returns; raises `RedisError`, `OSError` or an `ExceptionGroup` of them."""
        try:
            async with asyncio.timeout(self._silence_s):
                await self._pubsub.connect()
            self._owner.connection_opened()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(), name="events-subscriber-write")
                tasks.create_task(self._read(), name="events-subscriber-read")
        finally:
            await self._pubsub.aclose()

    def wanted_changed(self) -> None:
        self._changed.set()

    def has_acknowledged(self, channel: str) -> bool:
        return channel in self._requested and not self._pending_acks[channel]

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
                self._pending_acks.update(new)
                await redis_client.subscribe(self._pubsub, new)
            await self._changed.wait()

    async def _read(self) -> None:
        is_pinged = False
        while True:
            arrived = await redis_client.next_message(self._pubsub, self._silence_s)
            if arrived is not None:
                is_pinged = False
                self._handle(*arrived)
            elif is_pinged:
                raise RedisConnectionError(f"no answer within {self._silence_s} s")
            else:
                # Half-open connections stay silent forever: a reader does not notice that its peer is gone.
                is_pinged = True
                await redis_client.ping(self._pubsub)

    def _handle(self, kind: str, channel: str, message: bytes) -> None:
        if kind == "message":
            self._owner.connection_received(channel, message)
        elif kind == "subscribe":
            self._pending_acks[channel] -= 1
            if not self._pending_acks[channel]:
                del self._pending_acks[channel]
            if self.has_acknowledged(channel):
                self._owner.connection_acknowledged(channel)
            if self._missing_at_start:
                self._missing_at_start.discard(channel)
                self._catch_up()

    def _catch_up(self) -> None:
        if not self._missing_at_start:
            self._owner.connection_caught_up()


_logger = get_logger(__name__)

OnMessage = Callable[[str, bytes], None]
"""Called with channel and message, on the event loop; must not block."""
OnReconnect = Callable[[], None]
"""Called whenever the connection is back: messages may have been missed before, but none from now on."""

_FIRST_RETRY_S = 0.05
_MAX_RETRY_S = 2.0


@dataclass(eq=False)
class _Channel:
    listeners: Counter[OnMessage] = field(default_factory=Counter[OnMessage])
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when Redis has acknowledged the subscription, or the connection was lost."""


class PubSubSubscriber:
    """Listens on channels of Redis for the duration of the block (`async with PubSubSubscriber(redis) as subscriber`).

    The block begins after the first attempt to connect; Redis may be away then, and at any time. A connection that
    is silent for `silence_s` is pinged, and given up after as long again.
    """

    def __init__(self, redis: Redis, *, silence_s: float = 5, ack_timeout_s: float = 2) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._ack_timeout_s = ack_timeout_s
        self._channels: dict[str, _Channel] = {}
        self._reconnect_listeners: Counter[OnReconnect] = Counter()
        self._connection: PubSubConnection | None = None
        self._is_connected = False
        self._has_tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_connected(), name="events-subscriber")
        try:
            await self._has_tried.wait()
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to Redis now."""
        return self._is_connected

    async def subscribe(self, channel: str, on_message: OnMessage) -> bool:
        """Subscribes. A callback given twice is still called once per message, and must unsubscribe twice.

        Returns True once Redis has acknowledged; False if Redis is away or slow: the subscription then follows as
        soon as possible, and the reconnect is reported.
        """
        entry = self._channels.setdefault(channel, _Channel())
        entry.listeners[on_message] += 1
        connection = self._connection
        if connection is None or not self._is_connected or connection.has_acknowledged(channel):
            return self._is_connected
        connection.wanted_changed()
        try:
            await self._wait_for_ack(entry)
        except asyncio.CancelledError:
            self.unsubscribe(channel, on_message)
            raise
        return connection is self._connection and connection.has_acknowledged(channel)

    def unsubscribe(self, channel: str, on_message: OnMessage) -> None:
        """Undoes one `subscribe`. Returns at once; Redis gets the command in the background."""
        entry = self._channels[channel]
        entry.listeners[on_message] -= 1
        if not entry.listeners[on_message]:
            del entry.listeners[on_message]
        if not entry.listeners:
            del self._channels[channel]
            if self._connection is not None:
                self._connection.wanted_changed()

    def add_on_reconnect(self, callback: OnReconnect) -> None:
        self._reconnect_listeners[callback] += 1

    def remove_on_reconnect(self, callback: OnReconnect) -> None:
        """Undoes one `add_on_reconnect`."""
        self._reconnect_listeners[callback] -= 1
        if not self._reconnect_listeners[callback]:
            del self._reconnect_listeners[callback]

    @property
    def wanted(self) -> Collection[str]:
        return self._channels.keys()

    def connection_opened(self) -> None:
        self._is_connected = True
        self._has_tried.set()

    def connection_caught_up(self) -> None:
        for callback in list(self._reconnect_listeners):
            callback()

    def connection_acknowledged(self, channel: str) -> None:
        if entry := self._channels.get(channel):
            entry.acknowledged.set()

    def connection_received(self, channel: str, message: bytes) -> None:
        if entry := self._channels.get(channel):
            for on_message in list(entry.listeners):
                _call(on_message, channel, message)

    async def _wait_for_ack(self, entry: _Channel) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._ack_timeout_s):
                await entry.acknowledged.wait()

    async def _stay_connected(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            self._connection = PubSubConnection(self._redis, self, silence_s=self._silence_s)
            try:
                await self._connection.run()
            except (RedisError, OSError, ExceptionGroup) as error:
                retry_s = _FIRST_RETRY_S if self._is_connected else retry_s
                if retry_s == _FIRST_RETRY_S:
                    _logger.warning("no pub/sub connection to redis", error=repr(error))
            finally:
                self._connection_closed()
            await asyncio.sleep(retry_s * random.uniform(0.5, 1))
            retry_s = min(retry_s * 2, _MAX_RETRY_S)

    def _connection_closed(self) -> None:
        self._connection = None
        self._is_connected = False
        self._has_tried.set()
        for entry in self._channels.values():
            entry.acknowledged.set()
            entry.acknowledged = asyncio.Event()


def _call(on_message: OnMessage, channel: str, message: bytes) -> None:
    try:
        on_message(channel, message)
    except Exception:
        # A bug in one listener must not cost all others their connection.
        _logger.exception("a listener failed", channel=channel)
