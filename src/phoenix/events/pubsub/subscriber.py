"""One pub/sub connection per process: counts listeners, waits for acknowledgements, and survives outages of Redis."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from phoenix.async_tasks import in_background
from phoenix.events.pubsub import redis_client
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

OnMessage = Callable[[str, bytes], None]
"""Called with channel and message, on the event loop; must not block."""

OnReconnect = Callable[[], None]
"""Called whenever the connection is back: messages may have been lost before the call, and none after it."""

_FIRST_RETRY_S = 0.05
_MAX_RETRY_S = 2.0


@dataclass(eq=False)
class _Connection:
    """One connection, with the channels that were requested and acknowledged on it."""

    pubsub: PubSub
    wanted_changed: asyncio.Event = field(default_factory=asyncio.Event)
    requested: set[str] = field(default_factory=set[str])
    pending_acks: Counter[str] = field(default_factory=Counter[str])
    """Outstanding acknowledgements: two for a channel that is left and wanted again within a round trip."""
    late: set[str] = field(default_factory=set[str])
    """Channels not acknowledged yet that were wanted at the start, or that a subscriber has waited for too long for."""

    def has_acknowledged(self, channel: str) -> bool:
        return channel in self.requested and not self.pending_acks[channel]


@dataclass(eq=False)
class _Channel:
    listeners: Counter[OnMessage] = field(default_factory=Counter[OnMessage])
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when Redis has acknowledged the subscription, or the connection was lost."""


class PubSubSubscriber:
    """Listens on channels of Redis for the duration of the block (`async with PubSubSubscriber(redis) as subscriber`).

    The block begins after the first attempt to connect; Redis may be away then, and at any later time. A connection
    that is silent for `silence_s` is pinged, and replaced if it stays silent for as long again.
    """

    def __init__(self, redis: Redis, *, silence_s: float = 5, ack_timeout_s: float = 2) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._ack_timeout_s = ack_timeout_s
        self._channels: dict[str, _Channel] = {}
        self._reconnect_listeners: Counter[OnReconnect] = Counter()
        self._connection: _Connection | None = None
        self._is_connected = False
        self._has_tried = asyncio.Event()
        self._outages = FailureEpisode(_logger, "no pub/sub connection to redis", "the pub/sub connection is back")
        self._background = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._background.enter_async_context(in_background(self._stay_connected(), name="events-subscriber"))
        try:
            await self._has_tried.wait()
        except asyncio.CancelledError:
            await self._background.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._background.aclose()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to Redis now."""
        return self._is_connected

    @property
    def wanted(self) -> Collection[str]:
        """The channels with a subscription, acknowledged or not."""
        return self._channels.keys()

    async def subscribe(self, channel: str, on_message: OnMessage) -> bool:
        """Subscribes. A callback given twice is still called once per message, and must unsubscribe twice.

        Returns True once Redis has acknowledged. Returns False if Redis is away or slow: the subscription then follows
        as soon as possible, and the callbacks of `add_on_reconnect` are called after it.
        """
        entry = self._channels.setdefault(channel, _Channel())
        entry.listeners[on_message] += 1
        connection = self._connection
        if connection is None or not self._is_connected or connection.has_acknowledged(channel):
            return self._is_connected
        connection.wanted_changed.set()
        try:
            await self._wait_for_ack(entry)
        except asyncio.CancelledError:
            self.unsubscribe(channel, on_message)
            raise
        if connection is not self._connection:
            return False
        if not connection.has_acknowledged(channel):
            connection.late.add(channel)
        return connection.has_acknowledged(channel)

    def unsubscribe(self, channel: str, on_message: OnMessage) -> None:
        """Undoes one `subscribe`. Returns at once; Redis gets the command in the background."""
        entry = self._channels[channel]
        entry.listeners[on_message] -= 1
        if not entry.listeners[on_message]:
            del entry.listeners[on_message]
        if not entry.listeners:
            del self._channels[channel]
            if self._connection is not None:
                self._connection.wanted_changed.set()
                self._end_lateness(self._connection, channel)

    def add_on_reconnect(self, callback: OnReconnect) -> None:
        self._reconnect_listeners[callback] += 1

    def remove_on_reconnect(self, callback: OnReconnect) -> None:
        """Undoes one `add_on_reconnect`."""
        self._reconnect_listeners[callback] -= 1
        if not self._reconnect_listeners[callback]:
            del self._reconnect_listeners[callback]

    async def _wait_for_ack(self, entry: _Channel) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._ack_timeout_s):
                await entry.acknowledged.wait()

    async def _stay_connected(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            self._connection = _Connection(redis_client.open_pubsub(self._redis))
            try:
                await self._run(self._connection)
            except (RedisError, OSError, ExceptionGroup) as error:
                retry_s = _FIRST_RETRY_S if self._is_connected else retry_s
                self._outages.fail(error)
            finally:
                self._forget_connection()
            await asyncio.sleep(retry_s * random.uniform(0.5, 1))
            retry_s = min(retry_s * 2, _MAX_RETRY_S)

    def _forget_connection(self) -> None:
        self._connection = None
        self._is_connected = False
        self._has_tried.set()
        for entry in self._channels.values():
            entry.acknowledged.set()
            entry.acknowledged = asyncio.Event()

    async def _run(self, connection: _Connection) -> None:
        """Never returns; raises `RedisError`, `OSError` or an `ExceptionGroup` of them."""
        try:
            async with asyncio.timeout(self._silence_s):
                await connection.pubsub.connect()
            self._is_connected = True
            self._has_tried.set()
            self._outages.end()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection), name="events-subscriber-write")
                tasks.create_task(self._read(connection), name="events-subscriber-read")
        finally:
            await redis_client.close_pubsub(connection.pubsub)

    async def _write(self, connection: _Connection) -> None:
        """Requests the channels that became wanted, and leaves the channels that no longer are."""
        connection.late = set(self.wanted)
        if not connection.late:
            self._report_reconnect()
        while True:
            connection.wanted_changed.clear()
            wanted = set(self.wanted)
            if gone := connection.requested - wanted:
                connection.requested -= gone
                await redis_client.unsubscribe(connection.pubsub, gone)
            if new := wanted - connection.requested:
                connection.requested |= new
                connection.pending_acks.update(new)
                await redis_client.subscribe(connection.pubsub, new)
            await connection.wanted_changed.wait()

    async def _read(self, connection: _Connection) -> None:
        is_pinged = False
        while True:
            arrived = await redis_client.next_message(connection.pubsub, self._silence_s)
            if arrived is not None:
                is_pinged = False
                self._handle(connection, *arrived)
            elif is_pinged:
                raise RedisConnectionError(f"no answer within {self._silence_s} s")
            else:
                # Half-open connections stay silent forever: a reader does not notice that its peer is gone.
                is_pinged = True
                await redis_client.ping(connection.pubsub)

    def _handle(self, connection: _Connection, kind: str, channel: str, message: bytes) -> None:
        entry = self._channels.get(channel)
        if kind == "message" and entry:
            for on_message in list(entry.listeners):
                _call(on_message, channel, message)
        elif kind == "subscribe":
            connection.pending_acks[channel] -= 1
            if not connection.pending_acks[channel]:
                del connection.pending_acks[channel]
            if entry and connection.has_acknowledged(channel):
                entry.acknowledged.set()
                self._end_lateness(connection, channel)

    def _end_lateness(self, connection: _Connection, channel: str) -> None:
        """Calls the reconnect listeners once the last channel that was late is acknowledged, or no longer wanted."""
        if channel in connection.late:
            connection.late.discard(channel)
            if not connection.late:
                self._report_reconnect()

    def _report_reconnect(self) -> None:
        for callback in list(self._reconnect_listeners):
            callback()


def _call(on_message: OnMessage, channel: str, message: bytes) -> None:
    try:
        on_message(channel, message)
    except Exception:
        # A bug in one listener must not end the connection of all others.
        _logger.exception("a listener failed", channel=channel)
