"""The SSE streams of one job and of all jobs of an owner: a snapshot or the missed events first, then live events."""

from collections.abc import AsyncGenerator, Iterable, Sequence

from phoenix.contract.events import DurableEvent
from phoenix.events.fanout.client_buffer import CloseReason, EventBatch
from phoenix.events.fanout.hub import ConnectedClient, Hub, JobTopic, OwnerTopic
from phoenix.events.log import REPLAY_LIMIT, EventLog, OwnerSnapshot, has_seen_end
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, cursor_frame, encode, parse_cursor, with_owner_seq
from phoenix.events.progress_cache import NO_PROGRESS
from phoenix.events.sse.cursor import ClientCursor, SendDecision
from phoenix.events.sse.stream_loop import DirectSink, follow, frames

# Jobs whose progress a stream remembers; once forgotten, late progress could be sent after the job's end.
_MAX_JOBS_REMEMBERED = 1000


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


def owner_stream(
    hub: Hub, log: EventLog, owner_id: str, last_event_id: str | None, sink: DirectSink | None = None
) -> AsyncGenerator[bytes]:
    """The bytes to send, as `job_stream` does for one job.

    After a cursor of this owner it continues with the events that followed. Otherwise it starts with a snapshot of
    every unfinished job, and the cursor of that moment.
    """
    return follow(
        hub, OwnerTopic(owner_id), lambda client: _OwnerFrameWriter(log, client, owner_id, last_event_id), sink
    )


class _OwnerFrameWriter:
    """Sends durable events in the order of the owner's log; progress as the sequence of its job allows."""

    is_over = False

    def __init__(self, log: EventLog, client: ConnectedClient, owner_id: str, last_event_id: str | None) -> None:
        self._log = log
        self._client = client
        self._owner_id = owner_id
        self._resume_seq = parse_cursor(last_event_id, owner_id)
        self._jobs: dict[str, ClientCursor] = {}

    @property
    def _sent_seq(self) -> int:
        return self._client.sent_seq or 0

    @_sent_seq.setter
    def _sent_seq(self, owner_seq: int) -> None:
        self._client.sent_seq = owner_seq

    async def start(self) -> bytes:
        if self._resume_seq is not None and self._resume_seq <= await self._head():
            self._sent_seq = self._resume_seq
            return await self._resync() or HEARTBEAT_FRAME
        return self._restart(await self._log.owner_snapshot(self._owner_id)) + await self._resync()

    async def write(self, batch: EventBatch) -> bytes:
        durable = sorted((each for each in batch.events if each.is_durable), key=lambda each: each.owner_seq or 0)
        ephemeral = await self._add_new_jobs(batch.events)
        ephemeral += [each for each in batch.events if not each.is_durable]
        sent, is_gap = self._take_next(durable)
        early = [each for each in ephemeral if self._is_early(each)]
        chunk = frames(sent)
        if is_gap or early or batch.needs_resync:
            chunk += await self._resync()
        chunk += frames(self._release(ephemeral))
        self._evict_jobs()
        return chunk + HEARTBEAT_FRAME if batch.is_heartbeat else chunk

    async def _add_new_jobs(self, events: Iterable[EncodedEvent]) -> list[EncodedEvent]:
        """Prepares for jobs that are new to this connection; returns the latest progress of their clips.

        The client may know them from an earlier connection: none of that is taken back.
        """
        new = {each.job_id: each.seq for each in reversed(list(events)) if each.job_id not in self._jobs}
        found = await self._log.progress([job_id for job_id, seq in new.items() if seq > 1])
        newest: list[EncodedEvent] = []
        for job_id, seq in new.items():
            published = found.get(job_id, NO_PROGRESS)
            # Earlier events were sent, or this connection does not send them.
            self._jobs[job_id] = ClientCursor()
            self._jobs[job_id].resume(seq, is_over=False, job_progress=published.job_progress)
            newest += [encode(progress) for progress in published.clips.values()]
        return newest

    def write_now(self, encoded: EncodedEvent) -> bytes | None:
        if encoded.job_id not in self._jobs:
            return None
        if encoded.is_durable:
            is_behind = (encoded.owner_seq or 0) > self._sent_seq + 1
            return None if is_behind else frames(self._take_next([encoded])[0])
        return None if self._is_early(encoded) else frames(self._release([encoded]))

    def _take_next(self, durable: Iterable[EncodedEvent]) -> tuple[list[EncodedEvent], bool]:
        """The events that are next, and whether there is a gap before the others."""
        sent: list[EncodedEvent] = []
        for encoded in durable:
            owner_seq = encoded.owner_seq or 0
            if owner_seq > self._sent_seq + 1:
                return sent, True
            if owner_seq > self._sent_seq:
                sent.append(self._record(encoded, owner_seq))
        return sent, False

    def _record(self, encoded: EncodedEvent, owner_seq: int) -> EncodedEvent:
        self._sent_seq = owner_seq
        return self._cursor_of(encoded).record(encoded)

    def _is_early(self, encoded: EncodedEvent) -> bool:
        return self._cursor_of(encoded).decide(encoded) is SendDecision.RESYNC

    def _release(self, ephemeral: Iterable[EncodedEvent]) -> list[EncodedEvent]:
        """The progress that is news, now that the log was read to its end."""
        return [sent for each in ephemeral for sent in self._cursor_of(each).release([each])]

    async def _resync(self) -> bytes:
        """Frames of the events after the last one sent."""
        # Read before the rows: events of deleted jobs have none, and would be asked for again and again.
        head = await self._head()
        chunk = b""
        while True:
            rows = await self._log.replay_owner(self._owner_id, self._sent_seq)
            missed = [with_owner_seq(encode(event), owner_seq, self._owner_id) for owner_seq, event in rows]
            newest = await self._add_new_jobs(missed)
            for encoded in missed:
                chunk += self._record(encoded, encoded.owner_seq or 0).frame
            chunk += frames(self._release(newest))
            if len(rows) < REPLAY_LIMIT:
                self._sent_seq = max(self._sent_seq, head)
                return chunk

    def _restart(self, snapshot: OwnerSnapshot) -> bytes:
        """Frames of all the jobs, and then the cursor from which a client that has them resumes."""
        for job in snapshot.jobs:
            self._jobs[job.job_id] = ClientCursor()
            self._jobs[job.job_id].restart(job)
        self._sent_seq = snapshot.last_seq
        return frames(map(encode, snapshot.jobs)) + cursor_frame(snapshot.last_seq, self._owner_id)

    async def _head(self) -> int:
        return (await self._log.owner_heads([self._owner_id])).get(self._owner_id, 0)

    def _cursor_of(self, encoded: EncodedEvent) -> ClientCursor:
        return self._jobs[encoded.job_id]

    def _evict_jobs(self) -> None:
        while len(self._jobs) > _MAX_JOBS_REMEMBERED:
            del self._jobs[next(iter(self._jobs))]
