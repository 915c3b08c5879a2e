"""The SSE stream of one job: a snapshot or missed events, then live events until the terminal one."""

from collections.abc import AsyncGenerator, Sequence

from phoenix.contract.events import DurableEvent
from phoenix.events.fanout.client_buffer import CloseReason, EventBatch
from phoenix.events.fanout.hub import ConnectedClient, Hub, JobTopic
from phoenix.events.log.protocol import REPLAY_LIMIT, EventLog, has_seen_end
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, encode
from phoenix.events.progress_cache import NO_PROGRESS
from phoenix.events.sse.cursor import ClientCursor, SendDecision
from phoenix.events.sse.stream_loop import DirectSink, follow, frames


def job_stream(
    hub: Hub, log: EventLog, job_id: str, last_event_id: int | None, sink: DirectSink | None = None
) -> AsyncGenerator[bytes]:
    """The bytes to send, in chunks of whole frames; never raises, since the response has begun.

    With a `last_event_id` of this job's log it continues after that; with none, or a foreign one, it starts with a
    snapshot. It ends after the terminal event; when the job is deleted; when the hub closes; when it cannot read
    the log; and at `max_stream_age_s`. In the last three cases the client reconnects with its last id.
    Close it (`aclose()`) when the client has left. With a sink, most live events go through that.
    """
    return follow(hub, JobTopic(job_id), lambda client: _JobFrameWriter(log, client, job_id, last_event_id), sink)


class _JobFrameWriter:
    """Sends one client what its sequence says is next."""

    def __init__(self, log: EventLog, client: ConnectedClient, job_id: str, last_event_id: int | None) -> None:
        self._log = log
        self._client = client
        self._job_id = job_id
        self._last_event_id = last_event_id
        self._cursor = ClientCursor()
        self._is_gone = False

    @property
    def is_over(self) -> bool:
        """There is nothing more to send, now or after a reconnection."""
        return self._cursor.is_over or self._is_gone

    async def start(self) -> bytes:
        """The missed events if the client's position is known, else a snapshot."""
        if (resume_seq := self._last_event_id) is None:
            return await self._snapshot()
        head = (await self._log.heads([self._job_id])).get(self._job_id)
        if head is None or not 0 <= resume_seq <= head.last_seq:
            return await self._snapshot()
        # The client may have seen progress, which has no id, from any replica: none of it is taken back.
        published = (await self._log.progress([self._job_id])).get(self._job_id, NO_PROGRESS)
        self._cursor.resume(resume_seq, is_over=has_seen_end(head, resume_seq), job_progress=published.job_progress)
        self._client.sent_seq = resume_seq
        missed = await self._resync() if resume_seq < head.last_seq else b""
        newest = self._cursor.release([encode(progress) for progress in published.clips.values()])
        return missed + frames(newest) or HEARTBEAT_FRAME

    async def write(self, batch: EventBatch) -> bytes:
        self._is_gone = batch.close_reason is CloseReason.JOB_GONE
        ready, early = self._cursor.admit(batch.events)
        chunk = frames(ready)
        if early or batch.needs_resync:
            chunk += await self._resync() + frames(self._cursor.release(early))
        self._client.sent_seq = self._cursor.sent_seq
        return chunk + HEARTBEAT_FRAME if batch.is_heartbeat else chunk

    def write_now(self, encoded: EncodedEvent) -> bytes | None:
        decision = self._cursor.decide(encoded)
        if decision is SendDecision.RESYNC:
            return None
        if decision is SendDecision.DROP:
            return b""
        sent = self._cursor.record(encoded)
        self._client.sent_seq = self._cursor.sent_seq
        return sent.frame

    async def _resync(self) -> bytes:
        """The events that follow; a snapshot if the log no longer has them all."""
        chunk = b""
        while True:
            rows = await self._log.replay(self._job_id, self._cursor.sent_seq)
            if not self._cursor.continues(rows):
                return chunk + await self._snapshot()
            chunk += self._rows(rows)
            if len(rows) < REPLAY_LIMIT:
                return chunk

    async def _snapshot(self) -> bytes:
        snapshot = await self._log.snapshot(self._job_id)
        self._cursor.restart(snapshot)
        self._client.sent_seq = self._cursor.sent_seq
        frame = encode(snapshot).frame
        if not snapshot.job.state.is_terminal:
            return frame
        # Clients close on the terminal event, not on a snapshot that shows the job ended.
        self._cursor.resume(snapshot.seq - 1, is_over=True)
        return frame + self._rows(await self._log.replay(self._job_id, snapshot.seq - 1))

    def _rows(self, rows: Sequence[DurableEvent]) -> bytes:
        sent = [self._cursor.record(encode(row)) for row in rows]
        self._client.sent_seq = self._cursor.sent_seq
        return frames(sent)
