"""One client's stream of one job as SSE bytes: snapshot or missed rows, then live, until the terminal event."""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence

from phoenix.contract.events import DurableEvent
from phoenix.errors import NotFound
from phoenix.events.doorbell import HEARTBEAT_FRAME, EncodedEvent, encode, retry_frame
from phoenix.events.hub import Hub, Watcher
from phoenix.events.log import EventLog, has_been_told
from phoenix.events.mailbox import Closing, Delivery
from phoenix.events.sequence import SeenSequence
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


async def job_stream(hub: Hub, log: EventLog, job_id: str, last_event_id: int | None) -> AsyncGenerator[bytes]:
    """The bytes to send, each chunk whole frames; never raises, since a browser takes no second answer.

    With a `last_event_id` of this job's log it goes on after that; with none, or a foreign one, it starts with a
    snapshot. It ends after the terminal event; when the job is deleted; when the hub closes; when it cannot read
    the log; and at `max_stream_age_s`. In the last three cases the client reconnects with what it got last.
    Close it (`aclose()`) when the client has gone.
    """
    settings = hub.settings
    # Sent before anything is waited for: a browser shows CONNECTING until the first byte.
    yield retry_frame(settings.retry_ms, spread=0.5)
    try:
        async with hub.watch(job_id) as watcher:
            teller = _Teller(log, watcher)
            yield await teller.begin(last_event_id)
            # Ages differ, or clients that came back together after a deploy would do so every hour.
            ends_at_s = asyncio.get_running_loop().time() + settings.max_stream_age_s * random.uniform(0.9, 1)
            while not teller.is_over and (delivery := await watcher.mailbox.wait_until(ends_at_s)):
                if chunk := await teller.advance(delivery):
                    yield chunk
                if delivery.closing:
                    break
            if teller.is_over:
                return
    except NotFound:
        return
    except Exception:
        _logger.exception("a stream broke off", job_id=job_id)
    # Spread over twice the time: all streams of a process may end at once.
    yield retry_frame(settings.retry_ms, spread=1)


class _Teller:
    """Tells one client of one job what its sequence says is next."""

    def __init__(self, log: EventLog, watcher: Watcher) -> None:
        self._log = log
        self._watcher = watcher
        self._seen = SeenSequence()
        self._is_gone = False

    @property
    def is_over(self) -> bool:
        """There is nothing more to tell, now or after a reconnection."""
        return self._seen.is_over or self._is_gone

    async def begin(self, last_event_id: int | None) -> bytes:
        """The missed rows if the client's place is known, else a snapshot."""
        tail = (await self._log.tails([self._watcher.job_id])).get(self._watcher.job_id)
        if last_event_id is None or tail is None or not 0 <= last_event_id <= tail.last_seq:
            return await self._snapshot()
        self._seen.resume(last_event_id, is_over=has_been_told(tail, last_event_id))
        return await self._refill() or HEARTBEAT_FRAME

    async def advance(self, delivery: Delivery) -> bytes:
        self._is_gone = delivery.closing is Closing.JOB_GONE
        ready, early = self._seen.take(delivery.events)
        chunk = _frames(ready)
        if early or delivery.needs_refill:
            chunk += await self._refill() + _frames(self._seen.settle(early))
        self._watcher.sent_seq = self._seen.sent_seq
        return chunk + HEARTBEAT_FRAME if delivery.is_heartbeat else chunk

    async def _refill(self) -> bytes:
        """The rows that follow; a snapshot if they no longer do."""
        rows = await self._log.replay(self._watcher.job_id, self._seen.sent_seq)
        return self._rows(rows) if self._seen.continues(rows) else await self._snapshot()

    async def _snapshot(self) -> bytes:
        snapshot = await self._log.snapshot(self._watcher.job_id)
        self._seen.restart(snapshot)
        self._watcher.sent_seq = self._seen.sent_seq
        frame = encode(snapshot).frame
        if not snapshot.job.state.is_terminal:
            return frame
        # Clients close on the terminal event, not on a snapshot that shows the job ended.
        self._seen.resume(snapshot.seq - 1, is_over=True)
        return frame + self._rows(await self._log.replay(self._watcher.job_id, snapshot.seq - 1))

    def _rows(self, rows: Sequence[DurableEvent]) -> bytes:
        sent = [self._seen.record(encode(row)) for row in rows]
        self._watcher.sent_seq = self._seen.sent_seq
        return _frames(sent)


def _frames(sent: Iterable[EncodedEvent]) -> bytes:
    return b"".join(encoded.frame for encoded in sent)
