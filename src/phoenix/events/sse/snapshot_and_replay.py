"""The SSE streams of one job and of all jobs of an owner: a snapshot or the missed events first, then live events."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from phoenix.contract import DurableEvent
from phoenix.events.fanout.client_buffer import CloseReason, EventBatch
from phoenix.events.fanout.hub import ConnectedClient, Credential, Hub, JobTopic, OwnerTopic
from phoenix.events.log_interface import REPLAY_LIMIT, EventLog, OwnerSnapshot, has_seen_end
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, cursor_frame, encode, parse_cursor, with_owner_seq
from phoenix.events.progress_cache import NO_PROGRESS
from phoenix.events.sse.cursor import ClientCursor, SendDecision
from phoenix.events.sse.stream_loop import DirectSink, follow, frames

Redact = Callable[[EncodedEvent], EncodedEvent | None]
"""Returns the event as a client may see it; None if the client may not see it."""

# Jobs whose progress an owner's stream remembers. Late progress of a forgotten job could be sent after its end.
_MAX_JOBS_REMEMBERED = 1000


def job_stream(
    hub: Hub,
    log: EventLog,
    job_id: str,
    last_event_id: int | None,
    sink: DirectSink | None = None,
    *,
    credential: Credential | None = None,
    redact: Redact | None = None,
) -> AsyncGenerator[bytes]:
    """Yields chunks of whole frames with the events of one job. Never raises, since the response has begun.

    Starts with the events after `last_event_id`, or with a snapshot if that id is missing or foreign. Ends after the
    terminal event; when the job is deleted; when the hub closes; when the log cannot be read; and at
    `max_stream_age_s`. In the last three cases the client reconnects with its last id. Close the stream (`aclose()`)
    when the client has disconnected. With a sink, most live events go through the sink. `credential`: as in
    `Hub.connect`. `redact` changes each event before it is sent, or leaves it out.
    """

    def make_writer(client: ConnectedClient) -> _JobFrameWriter:
        if redact is not None:
            return _RedactedFrameWriter(log, client, job_id, last_event_id, redact)
        return _JobFrameWriter(log, client, job_id, last_event_id)

    return follow(hub, JobTopic(job_id), make_writer, sink, credential)


class _JobFrameWriter:
    """Sends the events that the client's cursor admits."""

    def __init__(self, log: EventLog, client: ConnectedClient, job_id: str, last_event_id: int | None) -> None:
        self._log = log
        self._client = client
        self._job_id = job_id
        self._last_event_id = last_event_id
        self._cursor = ClientCursor()
        self._is_gone = False

    @property
    def is_over(self) -> bool:
        """Whether the terminal event was sent, or the job was deleted."""
        return self._cursor.is_over or self._is_gone

    async def start(self) -> bytes:
        """The missed events if the log has the client's position, otherwise a snapshot."""
        if (resume_seq := self._last_event_id) is None:
            return await self._snapshot()
        head = (await self._log.heads([self._job_id])).get(self._job_id)
        if head is None or not 0 <= resume_seq <= head.last_seq:
            return await self._snapshot()
        # Progress has no id, and the client may have seen it from any replica: what is sent must not be less.
        published = (await self._log.progress([self._job_id])).get(self._job_id, NO_PROGRESS)
        self._cursor.resume(resume_seq, is_over=has_seen_end(head, resume_seq), job_progress=published.job_progress)
        self._client.sent_seq = resume_seq
        missed = await self._resync() if resume_seq < head.last_seq else b""
        newest = self._cursor.release([encode(progress) for progress in published.clips.values()])
        return missed + self._frames(newest) or HEARTBEAT_FRAME

    async def write(self, batch: EventBatch) -> bytes:
        self._is_gone = batch.close_reason is CloseReason.JOB_GONE
        ready, early = self._cursor.admit(batch.events)
        chunk = self._frames(ready)
        if early or batch.needs_resync:
            chunk += await self._resync() + self._frames(self._cursor.release(early))
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
        """The events after the last one sent; also a snapshot if the log no longer has all of them."""
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
        frame = self._frames([encode(snapshot)])
        if not snapshot.job.state.is_terminal:
            return frame
        # Clients close on the terminal event, not on a snapshot that shows the job ended.
        self._cursor.resume(snapshot.seq - 1, is_over=True)
        return frame + self._rows(await self._log.replay(self._job_id, snapshot.seq - 1))

    def _rows(self, rows: Sequence[DurableEvent]) -> bytes:
        sent = [self._cursor.record(encode(row)) for row in rows]
        self._client.sent_seq = self._cursor.sent_seq
        return self._frames(sent)

    def _frames(self, sent: Iterable[EncodedEvent]) -> bytes:
        return frames(sent)


class _RedactedFrameWriter(_JobFrameWriter):
    """Changes what it sends, or leaves it out."""

    def __init__(
        self, log: EventLog, client: ConnectedClient, job_id: str, last_event_id: int | None, redact: Redact
    ) -> None:
        super().__init__(log, client, job_id, last_event_id)
        self._redact = redact

    def write_now(self, encoded: EncodedEvent) -> bytes | None:  # noqa: ARG002
        # Goes through `write`, as if the log had to be read.
        return None

    def _frames(self, sent: Iterable[EncodedEvent]) -> bytes:
        return frames(shown for each in sent if (shown := self._redact(each)) is not None)


def owner_stream(
    hub: Hub,
    log: EventLog,
    owner_id: str,
    last_event_id: str | None,
    sink: DirectSink | None = None,
    *,
    credential: Credential | None = None,
    redact: Redact | None = None,
) -> AsyncGenerator[bytes]:
    """Yields chunks of whole frames with the events of all jobs of an owner, without end. Otherwise like `job_stream`.

    Starts with the events after a cursor of this owner. Without such a cursor, starts with a snapshot of every
    unfinished job, and a cursor that stands for exactly these snapshots.
    """

    def make_writer(client: ConnectedClient) -> _OwnerFrameWriter:
        return _OwnerFrameWriter(log, client, owner_id, last_event_id, redact)

    return follow(hub, OwnerTopic(owner_id), make_writer, sink, credential)


class _OwnerFrameWriter:
    """Sends durable events in the order of the owner's log, and progress if the cursor of its job admits it."""

    is_over = False

    def __init__(
        self,
        log: EventLog,
        client: ConnectedClient,
        owner_id: str,
        last_event_id: str | None,
        redact: Redact | None = None,
    ) -> None:
        self._log = log
        self._client = client
        self._owner_id = owner_id
        self._redact = redact
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
        chunk = self._frames(sent)
        if is_gap or early or batch.needs_resync:
            chunk += await self._resync()
        chunk += self._frames(self._release(ephemeral))
        self._evict_jobs()
        return chunk + HEARTBEAT_FRAME if batch.is_heartbeat else chunk

    async def _add_new_jobs(self, events: Iterable[EncodedEvent]) -> list[EncodedEvent]:
        """Adds cursors for jobs that are new to this connection. Returns the latest progress of their clips.

        The client may know these jobs from an earlier connection: what is sent must not be less.
        """
        new = {each.job_id: each.seq for each in reversed(list(events)) if each.job_id not in self._jobs}
        found = await self._log.progress([job_id for job_id, seq in new.items() if seq > 1])
        newest: list[EncodedEvent] = []
        for job_id, seq in new.items():
            published = found.get(job_id, NO_PROGRESS)
            # Earlier events were sent before, or this connection does not send them.
            self._jobs[job_id] = ClientCursor()
            self._jobs[job_id].resume(seq, is_over=False, job_progress=published.job_progress)
            newest += [encode(progress) for progress in published.clips.values()]
        return newest

    def write_now(self, encoded: EncodedEvent) -> bytes | None:
        if encoded.job_id not in self._jobs:
            return None
        if encoded.is_durable:
            is_behind = (encoded.owner_seq or 0) > self._sent_seq + 1
            return None if is_behind else self._frames(self._take_next([encoded])[0])
        return None if self._is_early(encoded) else self._frames(self._release([encoded]))

    def _frames(self, sent: Iterable[EncodedEvent]) -> bytes:
        if self._redact is None:
            return frames(sent)
        return frames(shown for each in sent if (shown := self._redact(each)) is not None)

    def _take_next(self, durable: Iterable[EncodedEvent]) -> tuple[list[EncodedEvent], bool]:
        """The events that follow the last one sent, and whether there is a gap before the other events."""
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
        """The progress to send after a read of the log to its end."""
        return [sent for each in ephemeral for sent in self._cursor_of(each).release([each])]

    async def _resync(self) -> bytes:
        """Frames of the events after the last one sent."""
        # Read before the rows: deleted jobs have no rows, and their numbers would otherwise seem missing forever.
        head = await self._head()
        chunk = b""
        while True:
            rows = await self._log.replay_owner(self._owner_id, self._sent_seq)
            missed = [with_owner_seq(encode(event), owner_seq, self._owner_id) for owner_seq, event in rows]
            newest = await self._add_new_jobs(missed)
            chunk += self._frames([self._record(encoded, encoded.owner_seq or 0) for encoded in missed])
            chunk += self._frames(self._release(newest))
            if len(rows) < REPLAY_LIMIT:
                self._sent_seq = max(self._sent_seq, head)
                return chunk

    def _restart(self, snapshot: OwnerSnapshot) -> bytes:
        """Frames of all the jobs, then a frame with the cursor that stands for exactly these jobs."""
        for job in snapshot.jobs:
            self._jobs[job.job_id] = ClientCursor()
            self._jobs[job.job_id].restart(job)
        self._sent_seq = snapshot.last_seq
        return self._frames(map(encode, snapshot.jobs)) + cursor_frame(snapshot.last_seq, self._owner_id)

    async def _head(self) -> int:
        return (await self._log.owner_heads([self._owner_id])).get(self._owner_id, 0)

    def _cursor_of(self, encoded: EncodedEvent) -> ClientCursor:
        return self._jobs[encoded.job_id]

    def _evict_jobs(self) -> None:
        while len(self._jobs) > _MAX_JOBS_REMEMBERED:
            del self._jobs[next(iter(self._jobs))]
