"""What one client has seen of one job, and therefore what may be sent to it next. Pure: no queues, no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from phoenix.contract import (
    Clip,
    ClipFailed,
    ClipPreview,
    ClipProgress,
    ClipRetrying,
    ClipStarted,
    ClipState,
    ClipSucceeded,
    DurableEvent,
    EphemeralEvent,
    JobQueued,
    JobQueueMoved,
    JobSnapshot,
    JobStarted,
    JobState,
)
from phoenix.events.messages import EncodedEvent


class SendDecision(Enum):
    """What to do with an event that has arrived for a client."""

    SEND = auto()
    DROP = auto()
    """The event was sent, or is older than a sent event."""
    RESYNC = auto()
    """Events before this event are missing: read the log first."""


@dataclass
class _ClipMark:
    """The progress of one clip that a client has seen."""

    attempt: int = 0
    step: int = -1
    progress: float = 0.0
    closed_attempt: int = 0
    """The newest attempt that has ended for the client: progress of this attempt is dropped."""

    def open(self, attempt: int) -> None:
        if attempt > self.attempt:
            self.attempt, self.step, self.progress = attempt, -1, 0.0

    def close(self, attempt: int) -> None:
        self.closed_attempt = max(self.closed_attempt, attempt)

    def is_past(self, event: ClipProgress | ClipPreview) -> bool:
        """Whether `event` belongs to an ended attempt, or to a step that the client has already seen."""
        if event.attempt <= self.closed_attempt or event.attempt < self.attempt:
            return True
        if isinstance(event, ClipPreview) or event.attempt > self.attempt:
            return False
        is_behind = event.step < self.step or event.progress < self.progress
        return is_behind or (event.step, event.progress) == (self.step, self.progress)


@dataclass
class ClientCursor:
    """One client's position in a job's log.

    Durable events are sent as 1, 2, 3 … without gap or repetition. Progress is sent only if it is new, and the job's
    progress never falls.
    """

    sent_seq: int = 0
    is_over: bool = False
    """Whether the last durable event sent was a terminal one."""
    _resynced_seq: int = 0
    _job_progress: float = 0.0
    _has_started: bool = False
    _clips: dict[int, _ClipMark] = field(default_factory=dict[int, _ClipMark])

    def restart(self, snapshot: JobSnapshot) -> None:
        """Call it when a snapshot of the whole job is sent to the client."""
        job = snapshot.job
        self.sent_seq = snapshot.seq
        self._job_progress = max(self._job_progress, job.progress)
        self._has_started = job.state not in (JobState.HELD, JobState.QUEUED)
        self._clips = {clip.index: _mark_of(clip) for clip in job.clips}

    def resume(self, sent_seq: int, *, is_over: bool, job_progress: float = 0.0) -> None:
        """Call it when the client already has the events up to `sent_seq`, and saw at most `job_progress` (0 to 1)."""
        self._job_progress = max(self._job_progress, job_progress)
        self.sent_seq = sent_seq
        self.is_over = is_over

    def decide(self, encoded: EncodedEvent) -> SendDecision:
        """What to do with an event that has arrived."""
        if encoded.is_durable:
            if encoded.seq <= self.sent_seq:
                return SendDecision.DROP
            return SendDecision.SEND if encoded.seq == self.sent_seq + 1 else SendDecision.RESYNC
        # The client lacks a durable event from before this one: progress must not precede the start of its clip.
        if encoded.seq > max(self.sent_seq, self._resynced_seq):
            return SendDecision.RESYNC
        return SendDecision.SEND if self._is_news(encoded.event) else SendDecision.DROP

    def record(self, encoded: EncodedEvent) -> EncodedEvent:
        """Records that the event is sent. Returns the event for this client, whose job progress never falls."""
        encoded = encoded.with_job_progress_of_at_least(self._job_progress)
        if encoded.is_durable:
            self.sent_seq = encoded.seq
            self.is_over = encoded.is_terminal
        self._apply(encoded.event)
        return encoded

    def admit(self, arrived: Iterable[EncodedEvent]) -> tuple[list[EncodedEvent], list[EncodedEvent]]:
        """The events to send now, in order, and the early events that must wait until the log was read."""
        ready: list[EncodedEvent] = []
        early: list[EncodedEvent] = []
        for encoded in sorted(arrived, key=_order):
            decision = self.decide(encoded)
            if decision is SendDecision.SEND:
                ready.append(self.record(encoded))
            elif decision is SendDecision.RESYNC:
                early.append(encoded)
        return ready, early

    def release(self, early: Sequence[EncodedEvent]) -> list[EncodedEvent]:
        """The early events to send after a read of the log. Durable events that the log lacks are dropped."""
        self._resynced_seq = max([self._resynced_seq, *(encoded.seq for encoded in early)])
        ready, _unknown = self.admit(early)
        return ready

    def continues(self, events: Sequence[DurableEvent]) -> bool:
        """Whether these rows of the log follow the last sent event without a gap; deleted rows leave a gap."""
        return all(event.seq == self.sent_seq + 1 + offset for offset, event in enumerate(events))

    def _is_news(self, event: DurableEvent | EphemeralEvent) -> bool:
        match event:
            case ClipProgress() | ClipPreview():
                mark = self._clips.get(event.clip_index)
                return mark is None or not mark.is_past(event)
            case JobQueueMoved():
                return not self._has_started or self._concerns_running(event)
            case _:
                return True

    def _concerns_running(self, event: JobQueueMoved) -> bool:
        """Whether the event says what a running job waits for, and nothing durable has happened since."""
        return event.queue_position is None and event.seq >= self.sent_seq

    def _apply(self, event: DurableEvent | EphemeralEvent) -> None:
        match event:
            case ClipStarted():
                self._mark(event.clip_index).open(event.attempt)
            case ClipRetrying() | ClipFailed():
                self._mark(event.clip_index).close(event.attempt)
            case ClipSucceeded():
                self._mark(event.clip_index).close(event.attempt)
                self._job_progress = event.progress
            case ClipProgress():
                mark = self._mark(event.clip_index)
                mark.attempt, mark.step, mark.progress = event.attempt, event.step, event.progress
                self._job_progress = event.job_progress
            case JobQueued():
                self._has_started = False
            case JobStarted():
                self._has_started = True
            case _:
                pass

    def _mark(self, clip_index: int) -> _ClipMark:
        return self._clips.setdefault(clip_index, _ClipMark())


def _order(encoded: EncodedEvent) -> tuple[bool, int]:
    """Durable events first, by number; then ephemeral events in the order of their arrival."""
    return (not encoded.is_durable, encoded.seq if encoded.is_durable else 0)


def _mark_of(clip: Clip) -> _ClipMark:
    if clip.state is ClipState.RUNNING:
        return _ClipMark(clip.attempt, clip.step, clip.progress)
    # The clip is queued again, or ended: its latest attempt is over in both cases.
    return _ClipMark(clip.attempt, closed_attempt=clip.attempt)
