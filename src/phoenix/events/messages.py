"""Encodes events: as JSON messages for Redis, and as SSE frames around that JSON, once per process."""

import hashlib
import random
import re
from dataclasses import dataclass, replace

from phoenix.contract import (
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
    """An event with its SSE frame: `id:` for a durable event, then `event:`, and `data:` with one line of JSON."""

    event: DurableEvent | EphemeralEvent
    json_line: bytes
    frame: bytes
    is_durable: bool
    id: str | None
    owner_seq: int | None = None
    """On a stream of all jobs of an owner: the durable event's number in the owner's log."""

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
        """The same event, with the progress of the whole job raised to `minimum` (0 to 1) if it is lower."""
        event = self.event
        if isinstance(event, ClipProgress) and event.job_progress < minimum:
            raised = encode(event.model_copy(update={"job_progress": minimum}))
        elif isinstance(event, ClipSucceeded) and event.progress < minimum:
            raised = encode(event.model_copy(update={"progress": minimum}))
        else:
            return self
        return with_id(raised, self.id, owner_seq=self.owner_seq)


def to_message(event: DurableEvent | EphemeralEvent) -> bytes:
    """The event as one line of JSON, for the channel of its job."""
    return event.model_dump_json().encode()


def encode(event: DurableEvent | EphemeralEvent) -> EncodedEvent:
    return _framed(event, to_message(event))


def decode(message: bytes) -> EncodedEvent:
    """Decodes a message of `to_message`. Raises `pydantic.ValidationError` (a `ValueError`) for anything else."""
    event = JobEvent.model_validate_json(message).root
    # A line break in the JSON, which only a foreign publisher would send, would end the frame's data early.
    is_one_line = b"\n" not in message and b"\r" not in message
    return _framed(event, message) if is_one_line else encode(event)


def retry_frame(retry_ms: int, *, spread: float) -> bytes:
    """A frame with the client's reconnection delay: `retry_ms`, plus a random part of up to `spread * retry_ms`."""
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
    """An event to publish, and its owner. `owner_seq`: number of a durable event in the log of all the owner's jobs."""

    event: DurableEvent | EphemeralEvent
    owner_id: str
    owner_seq: int | None = None


def to_owner_message(envelope: EventEnvelope, message: bytes | None = None) -> bytes:
    """For the channel of the owner: `owner_seq` (empty for an ephemeral event), a line break, and the event's JSON.

    `message`: what `to_message` has made of the event, if it has.
    """
    return b"%s\n%s" % (str(envelope.owner_seq or "").encode(), message or to_message(envelope.event))


def decode_owner_message(message: bytes, owner_id: str) -> EncodedEvent:
    """Decodes a message of `to_owner_message`. Raises `ValueError` for anything else."""
    seq_text, _, event = message.partition(b"\n")
    return with_owner_seq(decode(event), int(seq_text) if seq_text else None, owner_id)


def with_owner_seq(encoded: EncodedEvent, owner_seq: int | None, owner_id: str) -> EncodedEvent:
    """The same event for a stream of all jobs of an owner: its `id:` is a cursor, or missing if it is ephemeral."""
    event_id = None if owner_seq is None else format_cursor(owner_seq, owner_id)
    return with_id(encoded, event_id, owner_seq=owner_seq)


def format_cursor(owner_seq: int, owner_id: str) -> str:
    """The cursor of a client that has the owner's events up to `owner_seq`; opaque to the client."""
    return f"{owner_seq}.{_owner_digest(owner_id)}"


def cursor_frame(owner_seq: int, owner_id: str) -> bytes:
    """A frame that sets the client's last id without an event: browsers dispatch nothing for a block without data."""
    return b"id: %s\n\n" % format_cursor(owner_seq, owner_id).encode()


def parse_cursor(text: str | None, owner_id: str) -> int | None:
    """The number in a cursor of this owner. None without a cursor, or if the cursor is foreign or malformed."""
    match = _CURSOR.fullmatch(text) if text else None
    return int(match["seq"]) if match and match["owner"] == _owner_digest(owner_id) else None


def _owner_digest(owner_id: str) -> str:
    # A number alone could be mistaken for a position in another owner's log.
    return hashlib.blake2b(owner_id.encode(), digest_size=4).hexdigest()
