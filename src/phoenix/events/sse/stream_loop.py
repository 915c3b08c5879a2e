"""The life of a stream, whatever its topic: first bytes, then events as they come, then a time to reconnect."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from phoenix.errors import NotFound
from phoenix.events.fanout.client_buffer import EventBatch
from phoenix.events.fanout.hub import ConnectedClient, Hub, Topic
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, retry_frame
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class FrameWriter(Protocol):
    """Decides what is sent to one client."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to send, now or after a reconnection."""
        ...

    async def start(self) -> bytes: ...
    async def write(self, batch: EventBatch) -> bytes: ...
    def write_now(self, encoded: EncodedEvent) -> bytes | None:
        """What to send for an event, maybe nothing. None, with no change of state, if the log must be read first."""
        ...


class DirectSink(Protocol):
    """A direct way to one client, past its stream's task."""

    @property
    def is_free(self) -> bool:
        """Whether the client keeps up with what is sent."""
        ...

    def push(self, chunk: bytes) -> None:
        """Sends whole frames after everything sent so far. Never raises."""
        ...


async def follow(
    hub: Hub, topic: Topic, make_writer: Callable[[ConnectedClient], FrameWriter], sink: DirectSink | None = None
) -> AsyncGenerator[bytes]:
    """Chunks of whole frames until the writer is done, or the client should reconnect. Never raises.

    While it waits for the next batch, and the last chunk has left, frames may go out through the sink instead.
    """
    settings = hub.settings
    # Sent before anything is awaited: a browser shows CONNECTING until the first byte.
    yield retry_frame(settings.retry_ms, spread=0.5)
    clock_s = asyncio.get_running_loop().time
    try:
        async with hub.connect(topic) as client:
            writer = make_writer(client)
            yield await writer.start()
            # Ages differ, or else clients that reconnected together after a deploy would do so again every hour.
            ends_at_s = clock_s() + settings.max_stream_age_s * random.uniform(0.9, 1)
            fast_path = _SinkFastPath(writer, sink, ends_at_s) if sink else None
            # The hub's heartbeat also wakes streams that are too old, so none needs a timer of its own.
            while not writer.is_over and clock_s() < ends_at_s:
                batch = await client.buffer.wait(fast_path)
                if chunk := await writer.write(batch):
                    yield chunk
                if batch.close_reason:
                    break
            if writer.is_over:
                return
    except NotFound:
        return
    except Exception:
        _logger.exception("a stream broke off", topic=repr(topic))
    # Spread over twice the time: all streams of a process may end at once.
    yield retry_frame(settings.retry_ms, spread=1)


class _SinkFastPath:
    """Sends from within the hub's callback: waking a task for each of a thousand clients costs more than sending."""

    __slots__ = ("_clock_s", "_ends_at_s", "_sink", "_writer")

    def __init__(self, writer: FrameWriter, sink: DirectSink, ends_at_s: float) -> None:
        self._writer = writer
        self._sink = sink
        self._ends_at_s = ends_at_s
        self._clock_s = asyncio.get_running_loop().time

    def send(self, encoded: EncodedEvent) -> bool:
        # The stream itself must send the last event, since it ends after it.
        if not self._sink.is_free or encoded.is_terminal:
            return False
        try:
            chunk = self._writer.write_now(encoded)
        except Exception:
            # A bug in one stream must not cost all others the event.
            _logger.exception("could not send an event at once", type=encoded.type)
            return False
        if chunk:
            self._sink.push(chunk)
        return chunk is not None

    def send_heartbeat(self) -> bool:
        if not self._sink.is_free or self._clock_s() >= self._ends_at_s:
            return False
        self._sink.push(HEARTBEAT_FRAME)
        return True


def frames(sent: Iterable[EncodedEvent]) -> bytes:
    return b"".join(encoded.frame for encoded in sent)
