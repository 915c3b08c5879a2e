"""The only module that reads the wall clock. Leases and deadlines use the database's clock instead."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current instant, aware and in UTC. Tests pass their own clock."""


def utc_now() -> datetime:
    """The current instant, aware and in UTC."""
    return datetime.now(UTC)
