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


_logger = get_logger(__name__)

OnMessage = Callable[[str, bytes], None]
"""Called with channel and message, on the event loop; must not block."""
OnGap = Callable[[], None]
"""Called whenever the connection is back: messages may have been missed before, but none from now on."""

_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 2.0


@dataclass(eq=False)
class _Channel:
    listeners: Counter[OnMessage] = field(default_factory=Counter[OnMessage])
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when Redis has acknowledged the subscription, or the connection was lost."""


class Line:
    """Listens on channels of Redis for the duration of the block (`async with Line(redis) as line`).

    The block begins after the first attempt to connect; Redis may be away then, and at any time. A connection that
    is silent for `silence_s` is pinged, and given up after as long again.
    """

    def __init__(self, redis: Redis, *, silence_s: float = 5, ack_timeout_s: float = 2) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._ack_timeout_s = ack_timeout_s
        self._channels: dict[str, _Channel] = {}
        self._gap_listeners: Counter[OnGap] = Counter()
        self._session: Session | None = None
        self._is_up = False
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_open(), name="events-line")
        try:
            await self._tried.wait()
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
    def is_up(self) -> bool:
        """Whether there is a connection to Redis now."""
        return self._is_up

    async def listen(self, channel: str, on_message: OnMessage) -> bool:
        """Starts listening. A callback given twice is still called once per message, and must leave twice.

        Returns True once Redis has acknowledged; False if Redis is away or slow: the subscription then follows as
        soon as possible, and the gap is announced.
        """
        entry = self._channels.setdefault(channel, _Channel())
        entry.listeners[on_message] += 1
        session = self._session
        if session is None or not self._is_up or session.has_acknowledged(channel):
            return self._is_up
        session.wanted_changed()
        try:
            await self._wait_for_answer(entry)
        except asyncio.CancelledError:
            self.leave(channel, on_message)
            raise
        return session is self._session and session.has_acknowledged(channel)

    def leave(self, channel: str, on_message: OnMessage) -> None:
        """Undoes one `listen`. Returns at once; Redis is told in the background."""
        entry = self._channels[channel]
        entry.listeners[on_message] -= 1
        if not entry.listeners[on_message]:
            del entry.listeners[on_message]
        if not entry.listeners:
            del self._channels[channel]
            if self._session is not None:
                self._session.wanted_changed()

    def on_gap(self, callback: OnGap) -> None:
        self._gap_listeners[callback] += 1

    def leave_gap(self, callback: OnGap) -> None:
        """Undoes one `on_gap`."""
        self._gap_listeners[callback] -= 1
        if not self._gap_listeners[callback]:
            del self._gap_listeners[callback]

    @property
    def wanted(self) -> Collection[str]:
        return self._channels.keys()

    def session_opened(self) -> None:
        self._is_up = True
        self._tried.set()

    def session_caught_up(self) -> None:
        for callback in list(self._gap_listeners):
            callback()

    def session_acknowledged(self, channel: str) -> None:
        if entry := self._channels.get(channel):
            entry.answered.set()

    def session_received(self, channel: str, message: bytes) -> None:
        if entry := self._channels.get(channel):
            for on_message in list(entry.listeners):
                _call(on_message, channel, message)

    async def _wait_for_answer(self, entry: _Channel) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._ack_timeout_s):
                await entry.answered.wait()

    async def _keep_open(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            self._session = Session(self._redis, self, silence_s=self._silence_s)
            try:
                await self._session.run()
            except (RedisError, OSError, ExceptionGroup) as error:
                retry_s = _FIRST_RETRY_S if self._is_up else retry_s
                if retry_s == _FIRST_RETRY_S:
                    _logger.warning("no pub/sub connection to redis", error=repr(error))
            finally:
                self._session_closed()
            await asyncio.sleep(retry_s * random.uniform(0.5, 1))
            retry_s = min(retry_s * 2, _LONGEST_RETRY_S)

    def _session_closed(self) -> None:
        self._session = None
        self._is_up = False
        self._tried.set()
        for entry in self._channels.values():
            entry.answered.set()
            entry.answered = asyncio.Event()


def _call(on_message: OnMessage, channel: str, message: bytes) -> None:
    try:
        on_message(channel, message)
    except Exception:
        # A bug in one listener must not cost all others their connection.
        _logger.exception("a listener failed", channel=channel)
