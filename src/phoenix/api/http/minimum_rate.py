"""The slowest client that Phoenix waits for, in both directions. Pure: the callers measure and cut off."""

from dataclasses import dataclass

MIN_BYTES_PER_S = 1024
"""A slower client counts as stalled. It would need two days for the largest upload."""


def is_stalled(moved_bytes: int, seconds: float) -> bool:
    """Whether a client that took or sent so many bytes in so many seconds counts as stalled."""
    return moved_bytes < MIN_BYTES_PER_S * seconds


@dataclass
class Received:
    """What came of a body in the current period of `period_s`. Only the time counts in which the body was awaited."""

    period_s: float
    waited_s: float = 0.0
    received_bytes: int = 0

    @property
    def left_s(self) -> float:
        return max(self.period_s - self.waited_s, 0.0)

    def add(self, received_bytes: int, waited_s: float) -> None:
        self.received_bytes += received_bytes
        self.waited_s += waited_s

    def has_stalled(self) -> bool:
        """Whether the period ended with too few bytes. A period that ended with enough is followed by the next."""
        if self.left_s > 0:
            return False
        stalled = is_stalled(self.received_bytes, self.waited_s)
        self.waited_s, self.received_bytes = 0.0, 0
        return stalled
