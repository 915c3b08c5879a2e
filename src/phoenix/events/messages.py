"""Encodes events: as JSON for Redis, and from that as SSE frames, once per process."""

import hashlib
import random
import re
from dataclasses import dataclass, replace

from phoenix.contract.events import (
    TERMINAL_EVENT_TYPES,
    ClipPreview,
    ClipProgress,
    ClipSucceeded,
    DurableEvent,
    EphemeralEvent,
    JobEvent,
    JobQueueMoved,
    JobSnapshot,
)

HEARTBEAT_FRAME = b": still here\n\n"
_EPHEMERAL = (JobSnapshot, ClipProgress, ClipPreview, JobQueueMoved)


@dataclass(frozen=True)
class EncodedEvent:
    """An event with its SSE frame: `event:`, one line of JSON `data:`, and `id:` if it is durable; LF only."""

    event: DurableEvent | EphemeralEvent
    json_line: bytes
    frame: bytes
    is_durable: bool
    id: str | None
    owner_seq: int | None = None
    """Its number among the durable events of all jobs of its owner, on a stream of all of them."""

    @property
    def job_id(self) -> str:
        return self.event.job_id

    @property
    def seq(self) -> int:
        return self.event.seq

    @property
    def type(self) -> str:
        return self.event.type

    @property
    def is_terminal(self) -> bool:
        return self.event.type in TERMINAL_EVENT_TYPES

    @property
    def clip_index(self) -> int | None:
        return getattr(self.event, "clip_index", None)

    def with_job_progress_of_at_least(self, minimum: float) -> "EncodedEvent":
        """The same event, with a progress of the whole job of at least `minimum`."""
        event = self.event
        if isinstance(event, ClipProgress) and event.job_progress < minimum:
            raised = encode(event.model_copy(update={"job_progress": minimum}))
        elif isinstance(event, ClipSucceeded) and event.progress < minimum:
            raised = encode(event.model_copy(update={"progress": minimum}))
        else:
            return self
        return with_id(raised, self.id, owner_seq=self.owner_seq)


def to_message(event: DurableEvent | EphemeralEvent) -> bytes:
    """One line of JSON, as it is published."""
    return event.model_dump_json().encode()


def encode(event: DurableEvent | EphemeralEvent) -> EncodedEvent:
    return _framed(event, to_message(event))


def decode(message: bytes) -> EncodedEvent:
    """A published message. Raises `pydantic.ValidationError` (a `ValueError`) for anything else."""
    event = JobEvent.model_validate_json(message).root
    # A line break in the JSON, which only a foreign publisher would send, would end the frame's data early.
    is_one_line = b"\n" not in message and b"\r" not in message
    return _framed(event, message) if is_one_line else encode(event)


def retry_frame(retry_ms: int, *, spread: float) -> bytes:
    """Asks the client to wait before it reconnects: `retry_ms`, plus up to the fraction `spread` of it at random."""
    return b"retry: %d\n\n" % round(retry_ms * random.uniform(1, 1 + spread))


def with_id(encoded: EncodedEvent, event_id: str | None, *, owner_seq: int | None) -> EncodedEvent:
    """The same event under another `id:`, or under none."""
    frame = _frame(encoded.event.type, encoded.json_line, event_id)
    return replace(encoded, frame=frame, id=event_id, owner_seq=owner_seq)


def _framed(event: DurableEvent | EphemeralEvent, json_line: bytes) -> EncodedEvent:
    is_durable = not isinstance(event, _EPHEMERAL)
    event_id = str(event.seq) if is_durable else None
    return EncodedEvent(event, json_line, _frame(event.type, json_line, event_id), is_durable, event_id)


def _frame(event_type: str, json_line: bytes, event_id: str | None) -> bytes:
    # No `id:` at all: a blank one would reset the client's last id.
    id_line = b"id: %s\n" % event_id.encode() if event_id is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (id_line, event_type.encode(), json_line)


_CURSOR = re.compile(r"(?P<seq>[0-9]{1,18})\.(?P<owner>[0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True)
class EventEnvelope:
    """An event and its owner. `owner_seq`: a durable event's number among those of all the owner's jobs."""

    event: DurableEvent | EphemeralEvent
    owner_id: str
    owner_seq: int | None = None


def to_owner_message(envelope: EventEnvelope) -> bytes:
    """The number (empty for an ephemeral event), a line break, and the event's JSON."""
    return b"%s\n%s" % (str(envelope.owner_seq or "").encode(), to_message(envelope.event))


def decode_owner_message(message: bytes, owner_id: str) -> EncodedEvent:
    """What `to_owner_message` made. Raises `ValueError` for anything else."""
    seq_text, _, event = message.partition(b"\n")
    return with_owner_seq(decode(event), int(seq_text) if seq_text else None, owner_id)


def with_owner_seq(encoded: EncodedEvent, owner_seq: int | None, owner_id: str) -> EncodedEvent:
    """The same event for a stream of all jobs: its `id:` is a cursor; an ephemeral event has none."""
    event_id = None if owner_seq is None else format_cursor(owner_seq, owner_id)
    return with_id(encoded, event_id, owner_seq=owner_seq)


def format_cursor(owner_seq: int, owner_id: str) -> str:
    """The position of a client in the owner's log; opaque to the client."""
    return f"{owner_seq}.{_owner_digest(owner_id)}"


def cursor_frame(owner_seq: int, owner_id: str) -> bytes:
    """Sets the client's last id without an event: browsers dispatch nothing for a block without data."""
    return b"id: %s\n\n" % format_cursor(owner_seq, owner_id).encode()


def parse_cursor(text: str | None, owner_id: str) -> int | None:
    """The number in a cursor of this owner's; None for none, another owner's, and what this server never sent."""
    match = _CURSOR.fullmatch(text) if text else None
    return int(match["seq"]) if match and match["owner"] == _owner_digest(owner_id) else None


def _owner_digest(owner_id: str) -> str:
    # The number alone could be taken for a position in another owner's log.
    return hashlib.blake2b(owner_id.encode(), digest_size=4).hexdigest()
