"""The only module that reads the wall clock. Leases and deadlines use the database's clock instead.

It also writes durations for people.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current instant, aware and in UTC. Tests pass their own clock."""


def utc_now() -> datetime:
    """The current instant, aware and in UTC."""
    return datetime.now(UTC)


def in_seconds(seconds: float) -> str:
    """A duration for people, such as `24000 s` or `0.3125 s`."""
    return f"{plain_number(seconds)} s"


def plain_number(value: float) -> str:
    """A number for people: at most four decimals, and never an exponent."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
