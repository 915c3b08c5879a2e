"""What one client has seen of one job, and so what may be sent to it next. Pure: no queues, no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from phoenix.contract.events import (
    ClipFailed,
    ClipPreview,
    ClipProgress,
    ClipRetrying,
    ClipStarted,
    ClipSucceeded,
    DurableEvent,
    EphemeralEvent,
    JobQueued,
    JobQueueMoved,
    JobSnapshot,
    JobStarted,
)
from phoenix.contract.jobs import Clip, ClipState, JobState
from phoenix.events.messages import EncodedEvent


class SendDecision(Enum):
    SEND = auto()
    DROP = auto()
    """It was sent, or is older than what was sent."""
    RESYNC = auto()
    """Events before it are missing: read the log first."""


@dataclass
class _ClipMark:
    """How far a client has seen one clip go."""

    attempt: int = 0
    step: int = -1
    progress: float = 0.0
    closed_attempt: int = 0
    """The newest attempt that is known to have ended: its progress is no longer news."""

    def open(self, attempt: int) -> None:
        if attempt > self.attempt:
            self.attempt, self.step, self.progress = attempt, -1, 0.0

    def close(self, attempt: int) -> None:
        self.closed_attempt = max(self.closed_attempt, attempt)

    def is_past(self, event: ClipProgress | ClipPreview) -> bool:
        """Whether `event` is about an ended attempt, or a step that was passed."""
        if event.attempt <= self.closed_attempt or event.attempt < self.attempt:
            return True
        if isinstance(event, ClipPreview) or event.attempt > self.attempt:
            return False
        is_behind = event.step < self.step or event.progress < self.progress
        return is_behind or (event.step, event.progress) == (self.step, self.progress)


@dataclass
class ClientCursor:
    """One client's position in a job's log.

    Durable events are sent as 1, 2, 3 … without gap or repetition. Progress is sent only if it is news, and never lets
    the job's progress fall.
    """

    sent_seq: int = 0
    is_over: bool = False
    """Whether the last durable event sent was a terminal one."""
    _resynced_seq: int = 0
    _job_progress: float = 0.0
    _has_started: bool = False
    _clips: dict[int, _ClipMark] = field(default_factory=dict[int, _ClipMark])

    def restart(self, snapshot: JobSnapshot) -> None:
        """The client is sent a snapshot of the whole job."""
        job = snapshot.job
        self.sent_seq = snapshot.seq
        self._job_progress = max(self._job_progress, job.progress)
        self._has_started = job.state is not JobState.QUEUED
        self._clips = {clip.index: _mark_of(clip) for clip in job.clips}

    def resume(self, sent_seq: int, *, is_over: bool, job_progress: float = 0.0) -> None:
        """The client already has the events up to `sent_seq`, and saw at most `job_progress` of the job."""
        self._job_progress = max(self._job_progress, job_progress)
        self.sent_seq = sent_seq
        self.is_over = is_over

    def decide(self, encoded: EncodedEvent) -> SendDecision:
        """What to do with an event that has arrived."""
        if encoded.is_durable:
            if encoded.seq <= self.sent_seq:
                return SendDecision.DROP
            return SendDecision.SEND if encoded.seq == self.sent_seq + 1 else SendDecision.RESYNC
        # Made after a durable event that this client does not have: progress must not precede the start of its clip.
        if encoded.seq > max(self.sent_seq, self._resynced_seq):
            return SendDecision.RESYNC
        return SendDecision.SEND if self._is_news(encoded.event) else SendDecision.DROP

    def record(self, encoded: EncodedEvent) -> EncodedEvent:
        """Records that the event is being sent, and returns it as this client should see it."""
        encoded = encoded.with_job_progress_of_at_least(self._job_progress)
        if encoded.is_durable:
            self.sent_seq = encoded.seq
            self.is_over = encoded.is_terminal
        self._apply(encoded.event)
        return encoded

    def admit(self, arrived: Iterable[EncodedEvent]) -> tuple[list[EncodedEvent], list[EncodedEvent]]:
        """The events to send now, in order, and those that must wait until the log was read."""
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
        """The events of `early` to send now that the log was read. What the log does not know is dropped."""
        self._resynced_seq = max([self._resynced_seq, *(encoded.seq for encoded in early)])
        ready, _unknown = self.admit(early)
        return ready

    def continues(self, events: Sequence[DurableEvent]) -> bool:
        """Whether rows of the log directly follow what was sent; not so if old rows were deleted."""
        return all(event.seq == self.sent_seq + 1 + offset for offset, event in enumerate(events))

    def _is_news(self, event: DurableEvent | EphemeralEvent) -> bool:
        match event:
            case ClipProgress() | ClipPreview():
                mark = self._clips.get(event.clip_index)
                return mark is None or not mark.is_past(event)
            case JobQueueMoved():
                return not self._has_started
            case _:
                return True

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
    """Durable events first, by number; the others after them as they came."""
    return (not encoded.is_durable, encoded.seq if encoded.is_durable else 0)


def _mark_of(clip: Clip) -> _ClipMark:
    if clip.state is ClipState.RUNNING:
        return _ClipMark(clip.attempt, clip.step, clip.progress)
    # Queued after an attempt, or ended: its latest attempt is over either way.
    return _ClipMark(clip.attempt, closed_attempt=clip.attempt)
