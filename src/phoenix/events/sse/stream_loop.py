"""The loop of one SSE stream: the first bytes, then events as they arrive, then a delay for the reconnection."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from phoenix.errors import NotFound
from phoenix.events.fanout.client_buffer import EventBatch
from phoenix.events.fanout.hub import ConnectedClient, Credential, Hub, Topic
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, retry_frame
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class FrameWriter(Protocol):
    """Decides which frames are sent to one client."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to send, now and after a reconnection."""
        ...

    async def start(self) -> bytes:
        """The first frames: a snapshot, or the events that the client missed."""
        ...

    async def write(self, batch: EventBatch) -> bytes:
        """The frames for a batch; reads the log if events are missing."""
        ...

    def write_now(self, encoded: EncodedEvent) -> bytes | None:
        """The frames for one event, possibly empty. None, without a change of state, if the log must be read first."""
        ...


class DirectSink(Protocol):
    """Sends to one client without waking the task of its stream."""

    @property
    def is_free(self) -> bool:
        """Whether the client keeps up, so that `push` may be called."""
        ...

    def push(self, chunk: bytes) -> None:
        """Sends whole frames after everything sent so far. Never raises."""
        ...


async def follow(
    hub: Hub,
    topic: Topic,
    make_writer: Callable[[ConnectedClient], FrameWriter],
    sink: DirectSink | None = None,
    credential: Credential | None = None,
) -> AsyncGenerator[bytes]:
    """Yields chunks of whole frames until the writer is over or the client should reconnect. Never raises.

    While the loop waits for the next batch, frames may go out through the sink instead.
    """
    settings = hub.settings
    # Sent before anything is awaited: a browser shows CONNECTING until the first byte.
    yield retry_frame(settings.retry_ms, spread=0.5)
    clock_s = asyncio.get_running_loop().time
    try:
        async with hub.connect(topic, credential) as client:
            writer = make_writer(client)
            yield hub.count_events(await writer.start())
            # Ages differ: clients that reconnected together after a deploy would otherwise do so again every hour.
            ends_at_s = clock_s() + settings.max_stream_age_s * random.uniform(0.9, 1)
            fast_path = _SinkFastPath(hub, writer, sink, ends_at_s) if sink else None
            # The hub's heartbeat also wakes streams that are too old, so no stream needs its own timer.
            while not writer.is_over and clock_s() < ends_at_s:
                batch = await client.buffer.wait(fast_path)
                if chunk := await writer.write(batch):
                    yield hub.count_events(chunk)
                if batch.close_reason:
                    break
            if writer.is_over:
                return
    except NotFound:
        return
    except Exception:
        _logger.exception("a stream broke off", topic=repr(topic))
    # A wider spread than at the start, since all streams of a process may end at once.
    yield retry_frame(settings.retry_ms, spread=1)


class _SinkFastPath:
    """Sends from within the hub's callback: to wake a task for each of a thousand clients costs more than to send."""

    __slots__ = ("_clock_s", "_ends_at_s", "_hub", "_sink", "_writer")

    def __init__(self, hub: Hub, writer: FrameWriter, sink: DirectSink, ends_at_s: float) -> None:
        self._hub = hub
        self._writer = writer
        self._sink = sink
        self._ends_at_s = ends_at_s
        self._clock_s = asyncio.get_running_loop().time

    def send(self, encoded: EncodedEvent) -> bool:
        # The stream's task must send the terminal event, since the stream ends after it.
        if not self._sink.is_free or encoded.is_terminal:
            return False
        try:
            chunk = self._writer.write_now(encoded)
        except Exception:
            # A bug in one stream must not keep the event from all others.
            _logger.exception("could not send an event at once", type=encoded.type)
            return False
        if chunk:
            self._sink.push(self._hub.count_events(chunk))
        return chunk is not None

    def send_heartbeat(self) -> bool:
        if not self._sink.is_free or self._clock_s() >= self._ends_at_s:
            return False
        self._sink.push(HEARTBEAT_FRAME)
        return True


def frames(sent: Iterable[EncodedEvent]) -> bytes:
    """The frames of the events, in order."""
    return b"".join(encoded.frame for encoded in sent)
