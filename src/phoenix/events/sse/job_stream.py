"""The SSE stream of one job: a snapshot or missed events, then live events until the terminal one."""

from collections.abc import AsyncGenerator, Sequence

from phoenix.contract.events import DurableEvent
from phoenix.events.fanout.client_buffer import Closing, Delivery
from phoenix.events.fanout.hub import Hub, JobTopic, Watcher
from phoenix.events.log.protocol import REPLAY_LIMIT, EventLog, has_been_told
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, encode
from phoenix.events.progress_cache import NOTHING_TOLD
from phoenix.events.sse.cursor import SeenSequence, Verdict
from phoenix.events.sse.stream_loop import Outlet, follow, frames


def job_stream(
    hub: Hub, log: EventLog, job_id: str, last_event_id: int | None, outlet: Outlet | None = None
) -> AsyncGenerator[bytes]:
    """The bytes to send, in chunks of whole frames; never raises, since the response has begun.

    With a `last_event_id` of this job's log it continues after that; with none, or a foreign one, it starts with a
    snapshot. It ends after the terminal event; when the job is deleted; when the hub closes; when it cannot read
    the log; and at `max_stream_age_s`. In the last three cases the client reconnects with its last id.
    Close it (`aclose()`) when the client has left. With an outlet, most live events go through that.
    """
    return follow(hub, JobTopic(job_id), lambda watcher: _Teller(log, watcher, job_id, last_event_id), outlet)


class _Teller:
    """Sends one client what its sequence says is next."""

    def __init__(self, log: EventLog, watcher: Watcher, job_id: str, last_event_id: int | None) -> None:
        self._log = log
        self._watcher = watcher
        self._job_id = job_id
        self._last_event_id = last_event_id
        self._seen = SeenSequence()
        self._is_gone = False

    @property
    def is_over(self) -> bool:
        """There is nothing more to tell, now or after a reconnection."""
        return self._seen.is_over or self._is_gone

    async def begin(self) -> bytes:
        """The missed events if the client's position is known, else a snapshot."""
        if (asked := self._last_event_id) is None:
            return await self._snapshot()
        tail = (await self._log.tails([self._job_id])).get(self._job_id)
        if tail is None or not 0 <= asked <= tail.last_seq:
            return await self._snapshot()
        # The client may have seen progress, which has no id, from any replica: none of it is taken back.
        told = (await self._log.told([self._job_id])).get(self._job_id, NOTHING_TOLD)
        self._seen.resume(asked, is_over=has_been_told(tail, asked), job_progress=told.share)
        self._watcher.sent_seq = asked
        missed = await self._refill() if asked < tail.last_seq else b""
        newest = self._seen.settle([encode(progress) for progress in told.clips.values()])
        return missed + frames(newest) or HEARTBEAT_FRAME

    async def advance(self, delivery: Delivery) -> bytes:
        self._is_gone = delivery.closing is Closing.JOB_GONE
        ready, early = self._seen.take(delivery.events)
        chunk = frames(ready)
        if early or delivery.needs_refill:
            chunk += await self._refill() + frames(self._seen.settle(early))
        self._watcher.sent_seq = self._seen.sent_seq
        return chunk + HEARTBEAT_FRAME if delivery.is_heartbeat else chunk

    def tell_at_once(self, encoded: EncodedEvent) -> bytes | None:
        verdict = self._seen.judge(encoded)
        if verdict is Verdict.REFILL:
            return None
        if verdict is Verdict.DROP:
            return b""
        told = self._seen.record(encoded)
        self._watcher.sent_seq = self._seen.sent_seq
        return told.frame

    async def _refill(self) -> bytes:
        """The events that follow; a snapshot if the log no longer has them all."""
        chunk = b""
        while True:
            rows = await self._log.replay(self._job_id, self._seen.sent_seq)
            if not self._seen.continues(rows):
                return chunk + await self._snapshot()
            chunk += self._rows(rows)
            if len(rows) < REPLAY_LIMIT:
                return chunk

    async def _snapshot(self) -> bytes:
        snapshot = await self._log.snapshot(self._job_id)
        self._seen.restart(snapshot)
        self._watcher.sent_seq = self._seen.sent_seq
        frame = encode(snapshot).frame
        if not snapshot.job.state.is_terminal:
            return frame
        # Clients close on the terminal event, not on a snapshot that shows the job ended.
        self._seen.resume(snapshot.seq - 1, is_over=True)
        return frame + self._rows(await self._log.replay(self._job_id, snapshot.seq - 1))

    def _rows(self, rows: Sequence[DurableEvent]) -> bytes:
        sent = [self._seen.record(encode(row)) for row in rows]
        self._watcher.sent_seq = self._seen.sent_seq
        return frames(sent)
