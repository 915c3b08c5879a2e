"""The one place that reads the wall clock. Leases and deadlines use the database's clock, not this one."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current instant, aware and in UTC; tests pass their own."""


def utc_now() -> datetime:
    return datetime.now(UTC)
