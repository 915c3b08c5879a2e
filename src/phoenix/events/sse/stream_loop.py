"""The life of a stream, whatever its topic: first bytes, then events as they come, then a time to reconnect."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from phoenix.errors import NotFound
from phoenix.events.fanout.client_buffer import Delivery
from phoenix.events.fanout.hub import Hub, Topic, Watcher
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, retry_frame
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class Teller(Protocol):
    """Decides what is sent to one client."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to send, now or after a reconnection."""
        ...

    async def begin(self) -> bytes: ...
    async def advance(self, delivery: Delivery) -> bytes: ...
    def tell_at_once(self, encoded: EncodedEvent) -> bytes | None:
        """What to send for an event, maybe nothing. None, with no change of state, if the log must be read first."""
        ...


class Outlet(Protocol):
    """A direct way to one client, past its stream's task."""

    @property
    def is_free(self) -> bool:
        """Whether the client keeps up with what is sent."""
        ...

    def push(self, chunk: bytes) -> None:
        """Sends whole frames after everything sent so far. Never raises."""
        ...


async def follow(
    hub: Hub, topic: Topic, make_teller: Callable[[Watcher], Teller], outlet: Outlet | None = None
) -> AsyncGenerator[bytes]:
    """Chunks of whole frames until the teller is done, or the client should reconnect. Never raises.

    While it waits for the next delivery, and the last chunk has left, frames may go out through the outlet instead.
    """
    settings = hub.settings
    # Sent before anything is awaited: a browser shows CONNECTING until the first byte.
    yield retry_frame(settings.retry_ms, spread=0.5)
    clock_s = asyncio.get_running_loop().time
    try:
        async with hub.watch(topic) as watcher:
            teller = make_teller(watcher)
            yield await teller.begin()
            # Ages differ, or else clients that reconnected together after a deploy would do so again every hour.
            ends_at_s = clock_s() + settings.max_stream_age_s * random.uniform(0.9, 1)
            shortcut = _Shortcut(teller, outlet, ends_at_s) if outlet else None
            # The hub's heartbeat also wakes streams that are too old, so none needs a timer of its own.
            while not teller.is_over and clock_s() < ends_at_s:
                delivery = await watcher.mailbox.wait(shortcut)
                if chunk := await teller.advance(delivery):
                    yield chunk
                if delivery.closing:
                    break
            if teller.is_over:
                return
    except NotFound:
        return
    except Exception:
        _logger.exception("a stream broke off", topic=repr(topic))
    # Spread over twice the time: all streams of a process may end at once.
    yield retry_frame(settings.retry_ms, spread=1)


class _Shortcut:
    """Sends from within the hub's callback: waking a task for each of a thousand clients costs more than sending."""

    __slots__ = ("_clock_s", "_ends_at_s", "_outlet", "_teller")

    def __init__(self, teller: Teller, outlet: Outlet, ends_at_s: float) -> None:
        self._teller = teller
        self._outlet = outlet
        self._ends_at_s = ends_at_s
        self._clock_s = asyncio.get_running_loop().time

    def tell(self, encoded: EncodedEvent) -> bool:
        # The stream itself must send the last event, since it ends after it.
        if not self._outlet.is_free or encoded.is_terminal:
            return False
        try:
            chunk = self._teller.tell_at_once(encoded)
        except Exception:
            # A bug in one stream must not cost all others the event.
            _logger.exception("could not tell an event at once", type=encoded.type)
            return False
        if chunk:
            self._outlet.push(chunk)
        return chunk is not None

    def beat(self) -> bool:
        if not self._outlet.is_free or self._clock_s() >= self._ends_at_s:
            return False
        self._outlet.push(HEARTBEAT_FRAME)
        return True


def frames(sent: Iterable[EncodedEvent]) -> bytes:
    return b"".join(encoded.frame for encoded in sent)
