"""A bounded buffer of events: loses no durable event, keeps only the newest progress."""

from phoenix.contract.events import ClipProgress
from phoenix.events.encoding import EncodedEvent


class Backlog:
    """The buffer of one client, or of one topic: at most `capacity` durable events, and as many of the others."""

    __slots__ = ("_capacity", "_durable", "_needs_refill", "_newest")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._durable: list[EncodedEvent] = []
        self._newest: dict[tuple[str, str, int | None], EncodedEvent] = {}
        self._needs_refill = False

    def put(self, encoded: EncodedEvent) -> None:
        if encoded.is_durable:
            self._put_durable(encoded)
        else:
            self._put_newest(encoded)

    def ask_for_refill(self) -> None:
        self._needs_refill = True

    def take(self) -> tuple[list[EncodedEvent], bool]:
        """Empties the buffer: the events, durable ones first, and whether more must be read from the log."""
        taken = [*self._durable, *self._newest.values()], self._needs_refill
        self._durable.clear()
        self._newest.clear()
        self._needs_refill = False
        return taken

    def __bool__(self) -> bool:
        return bool(self._durable or self._newest or self._needs_refill)

    def _put_durable(self, encoded: EncodedEvent) -> None:
        if self._needs_refill:
            return  # it is in the log, which is read when the client is ready for more
        if len(self._durable) >= self._capacity:
            self._durable.clear()
            self._needs_refill = True
            return
        self._durable.append(encoded)

    def _put_newest(self, encoded: EncodedEvent) -> None:
        key = (encoded.job_id, encoded.type, encoded.clip_index)
        held = self._newest.pop(key, None)
        if held is None and len(self._newest) >= self._capacity:
            # A reel may have more clips than fit: the oldest progress makes room, and its next step will follow.
            del self._newest[next(iter(self._newest))]
        self._newest[key] = held if held and _is_older(encoded, held) else encoded


def _is_older(encoded: EncodedEvent, held: EncodedEvent) -> bool:
    event, other = encoded.event, held.event
    if isinstance(event, ClipProgress) and isinstance(other, ClipProgress):
        return (event.attempt, event.step) < (other.attempt, other.step)
    return False
