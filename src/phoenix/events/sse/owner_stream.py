"""The SSE stream of all jobs of an owner: snapshots or missed events, then live events, without end."""

from collections.abc import AsyncGenerator, Iterable

from phoenix.events.fanout.client_buffer import Delivery
from phoenix.events.fanout.hub import Hub, OwnerTopic, Watcher
from phoenix.events.log.protocol import REPLAY_LIMIT, EventLog
from phoenix.events.messages import HEARTBEAT_FRAME, EncodedEvent, cursor_frame, encode, parse_cursor, place_in_owner
from phoenix.events.progress_cache import NOTHING_TOLD
from phoenix.events.sse.cursor import SeenSequence, Verdict
from phoenix.events.sse.stream_loop import Outlet, follow, frames

# Jobs whose progress a stream remembers; once forgotten, late progress could be sent after the job's end.
_MAX_JOBS_REMEMBERED = 1000


def owner_stream(
    hub: Hub, log: EventLog, owner_id: str, last_event_id: str | None, outlet: Outlet | None = None
) -> AsyncGenerator[bytes]:
    """The bytes to send, as `job_stream` does for one job.

    After a cursor of this owner it continues with the events that followed. Otherwise it starts with a snapshot of
    every unfinished job, and the cursor of that moment.
    """
    return follow(hub, OwnerTopic(owner_id), lambda watcher: _Teller(log, watcher, owner_id, last_event_id), outlet)


class _Teller:
    """Sends durable events in the order of the owner's log; progress as the sequence of its job allows."""

    is_over = False

    def __init__(self, log: EventLog, watcher: Watcher, owner_id: str, last_event_id: str | None) -> None:
        self._log = log
        self._watcher = watcher
        self._owner_id = owner_id
        self._cursor = parse_cursor(last_event_id, owner_id)
        self._jobs: dict[str, SeenSequence] = {}
        self._reflected: dict[str, int] = {}
        """For each job that was sent as a snapshot: the last event that the snapshot reflects."""

    @property
    def _sent_seq(self) -> int:
        return self._watcher.sent_seq or 0

    @_sent_seq.setter
    def _sent_seq(self, owner_seq: int) -> None:
        self._watcher.sent_seq = owner_seq

    async def begin(self) -> bytes:
        tail = await self._tail()
        if self._cursor is not None and self._cursor <= tail:
            self._sent_seq = self._cursor
            return await self._refill() or HEARTBEAT_FRAME
        # The cursor is older than the snapshots: what follows it is sent, unless they reflect it.
        self._sent_seq = tail
        return await self._snapshots() + cursor_frame(tail, self._owner_id) + await self._refill()

    async def advance(self, delivery: Delivery) -> bytes:
        durable = sorted((each for each in delivery.events if each.is_durable), key=lambda each: each.owner_seq or 0)
        passing = await self._meet(delivery.events)
        passing += [each for each in delivery.events if not each.is_durable]
        sent, is_gap = self._take(durable)
        early = [each for each in passing if self._is_early(each)]
        chunk = frames(sent)
        if is_gap or early or delivery.needs_refill:
            chunk += await self._refill()
        chunk += frames(self._settle(passing))
        self._forget_some()
        return chunk + HEARTBEAT_FRAME if delivery.is_heartbeat else chunk

    async def _meet(self, events: Iterable[EncodedEvent]) -> list[EncodedEvent]:
        """Prepares for jobs that are new to this connection; returns the latest progress of their clips.

        The client may know them from an earlier connection: none of that is taken back.
        """
        new = {each.job_id: each.seq for each in reversed(list(events)) if each.job_id not in self._jobs}
        found = await self._log.told([job_id for job_id, seq in new.items() if seq > 1])
        newest: list[EncodedEvent] = []
        for job_id, seq in new.items():
            told = found.get(job_id, NOTHING_TOLD)
            # What came before is told, or is not this connection's to tell.
            self._jobs[job_id] = SeenSequence()
            self._jobs[job_id].resume(seq, is_over=False, job_progress=told.share)
            newest += [encode(progress) for progress in told.clips.values()]
        return newest

    def tell_at_once(self, encoded: EncodedEvent) -> bytes | None:
        if encoded.job_id not in self._jobs:
            return None
        if encoded.is_durable:
            is_behind = (encoded.owner_seq or 0) > self._sent_seq + 1
            return None if is_behind else frames(self._take([encoded])[0])
        return None if self._is_early(encoded) else frames(self._settle([encoded]))

    def _take(self, durable: Iterable[EncodedEvent]) -> tuple[list[EncodedEvent], bool]:
        """The events that are next, and whether there is a gap before the others."""
        sent: list[EncodedEvent] = []
        for encoded in durable:
            owner_seq = encoded.owner_seq or 0
            if owner_seq > self._sent_seq + 1:
                return sent, True
            if owner_seq > self._sent_seq:
                sent += self._record(encoded, owner_seq)
        return sent, False

    def _record(self, encoded: EncodedEvent, owner_seq: int) -> list[EncodedEvent]:
        self._sent_seq = owner_seq
        if encoded.seq <= self._reflected.get(encoded.job_id, 0):
            return []
        return [self._sequence_of(encoded).record(encoded)]

    def _is_early(self, encoded: EncodedEvent) -> bool:
        return self._sequence_of(encoded).judge(encoded) is Verdict.REFILL

    def _settle(self, passing: Iterable[EncodedEvent]) -> list[EncodedEvent]:
        """The progress that is news, now that the log was read to its end."""
        return [told for each in passing for told in self._sequence_of(each).settle([each])]

    async def _refill(self) -> bytes:
        """Frames of the events after the last one sent."""
        # Read before the rows: events of deleted jobs have none, and would be asked for again and again.
        tail = await self._tail()
        chunk = b""
        while True:
            rows = await self._log.replay_owner(self._owner_id, self._sent_seq)
            missed = [place_in_owner(encode(event), owner_seq, self._owner_id) for owner_seq, event in rows]
            newest = await self._meet(missed)
            for encoded in missed:
                chunk += frames(self._record(encoded, encoded.owner_seq or 0))
            chunk += frames(self._settle(newest))
            if len(rows) < REPLAY_LIMIT:
                self._sent_seq = max(self._sent_seq, tail)
                return chunk

    async def _snapshots(self) -> bytes:
        snapshots = await self._log.unfinished(self._owner_id)
        for snapshot in snapshots:
            self._jobs[snapshot.job_id] = SeenSequence()
            self._jobs[snapshot.job_id].restart(snapshot)
            self._reflected[snapshot.job_id] = snapshot.seq
        return b"".join(encode(snapshot).frame for snapshot in snapshots)

    async def _tail(self) -> int:
        return (await self._log.owner_tails([self._owner_id])).get(self._owner_id, 0)

    def _sequence_of(self, encoded: EncodedEvent) -> SeenSequence:
        return self._jobs[encoded.job_id]

    def _forget_some(self) -> None:
        while len(self._jobs) > _MAX_JOBS_REMEMBERED:
            del self._jobs[next(iter(self._jobs))]
