"""The life of any stream, whatever it tells: first bytes, then what comes, and a time to come back at the end."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from phoenix.errors import NotFound
from phoenix.events.doorbell import EncodedEvent, retry_frame
from phoenix.events.hub import Hub, Watcher
from phoenix.events.mailbox import Delivery
from phoenix.events.topics import Topic
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class Teller(Protocol):
    """Decides what one client is told."""

    @property
    def is_over(self) -> bool:
        """There is nothing more to tell, now or after a reconnection."""
        ...

    async def begin(self) -> bytes: ...
    async def advance(self, delivery: Delivery) -> bytes: ...


async def follow(hub: Hub, topic: Topic, make_teller: Callable[[Watcher], Teller]) -> AsyncGenerator[bytes]:
    """Chunks of whole frames until the teller is done, or the client should reconnect. Never raises."""
    settings = hub.settings
    # Sent before anything is waited for: a browser shows CONNECTING until the first byte.
    yield retry_frame(settings.retry_ms, spread=0.5)
    clock_s = asyncio.get_running_loop().time
    try:
        async with hub.watch(topic) as watcher:
            teller = make_teller(watcher)
            yield await teller.begin()
            # Ages differ, or clients that came back together after a deploy would do so every hour.
            ends_at_s = clock_s() + settings.max_stream_age_s * random.uniform(0.9, 1)
            # The hub's heartbeat wakes a stream that is too old as well, so none needs a timer of its own.
            while not teller.is_over and clock_s() < ends_at_s:
                delivery = await watcher.mailbox.wait()
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


def frames(sent: Iterable[EncodedEvent]) -> bytes:
    return b"".join(encoded.frame for encoded in sent)
