"""Events on streams of all of an owner's jobs, and the cursors by which such streams resume."""

import hashlib
import re
from dataclasses import dataclass

from phoenix.contract.events import DurableEvent, EphemeralEvent
from phoenix.events.encoding import EncodedEvent, decode, to_message, with_id

_CURSOR = re.compile(r"(?P<seq>[0-9]{1,18})\.(?P<owner>[0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True)
class Owned:
    """An event and its owner. `owner_seq`: a durable event's number among those of all the owner's jobs."""

    event: DurableEvent | EphemeralEvent
    owner_id: str
    owner_seq: int | None = None


def to_owner_message(owned: Owned) -> bytes:
    """The number (empty for an ephemeral event), a line break, and the event's JSON."""
    return b"%s\n%s" % (str(owned.owner_seq or "").encode(), to_message(owned.event))


def decode_owned(message: bytes, owner_id: str) -> EncodedEvent:
    """What `to_owner_message` made. Raises `ValueError` for anything else."""
    place, _, event = message.partition(b"\n")
    return place_in_owner(decode(event), int(place) if place else None, owner_id)


def place_in_owner(encoded: EncodedEvent, owner_seq: int | None, owner_id: str) -> EncodedEvent:
    """The same event for a stream of all jobs: its `id:` is a cursor; an ephemeral event has none."""
    event_id = None if owner_seq is None else cursor_at(owner_seq, owner_id)
    return with_id(encoded, event_id, owner_seq=owner_seq)


def cursor_at(owner_seq: int, owner_id: str) -> str:
    """The position of a client in the owner's log; opaque to the client."""
    return f"{owner_seq}.{_mark_of(owner_id)}"


def cursor_frame(owner_seq: int, owner_id: str) -> bytes:
    """Sets the client's last id without an event: browsers dispatch nothing for a block without data."""
    return b"id: %s\n\n" % cursor_at(owner_seq, owner_id).encode()


def parse_cursor(text: str | None, owner_id: str) -> int | None:
    """The number in a cursor of this owner's; None for none, another owner's, and what this server never sent."""
    match = _CURSOR.fullmatch(text) if text else None
    return int(match["seq"]) if match and match["owner"] == _mark_of(owner_id) else None


def _mark_of(owner_id: str) -> str:
    # The number alone could be taken for a position in another owner's log.
    return hashlib.blake2b(owner_id.encode(), digest_size=4).hexdigest()
