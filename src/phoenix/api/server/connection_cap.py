"""The number of connections that one process has open at a time."""

import resource
from contextlib import suppress
from enum import Enum, auto

from phoenix.telemetry.logs import get_logger
from phoenix.telemetry.meters import Meters

_logger = get_logger(__name__)

SPARE_CONNECTIONS = 64
"""Connections above the cap that still get an answer: a health check its own, any other request a 503."""
SPARE_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Requests for these are always served: an orchestrator would otherwise restart a replica because it is busy."""
_OTHER_FILES = 256
"""Open files of a process that are not connections of clients: the database, Redis, the store, uploads."""
_EPISODE_ENDS_BELOW = 0.9
"""Share of the cap. A number that hovers around the cap would otherwise start a new episode with each connection."""


class Admission(Enum):
    """What a new connection may do."""

    NORMAL = auto()
    SPARE = auto()
    REFUSED = auto()


class ConnectionCap:
    """Counts the open connections of a process, and refuses those above the cap. Logs each episode once."""

    def __init__(self, max_connections: int, meters: Meters) -> None:
        """`max_connections`: no cap if 0."""
        self._max_connections = max_connections
        self._meters = meters
        self._open = 0
        self._refused = 0
        self._is_full = False

    def enter(self) -> Admission:
        """Counts a new connection, even if it is refused. Call `leave` at its end."""
        self._open += 1
        self._meters.open_connections.set(self._open)
        if not self._max_connections or self._open <= self._max_connections:
            return Admission.NORMAL
        if not self._is_full:
            self._is_full = True
            _logger.warning("no more connections are accepted", max_connections=self._max_connections)
        return Admission.SPARE if self._open <= self._max_connections + SPARE_CONNECTIONS else Admission.REFUSED

    def count_refusal(self) -> None:
        """A connection was closed, or its request was answered with 503, because of the cap."""
        self._refused += 1
        self._meters.refused_connections.inc()

    def leave(self) -> None:
        """A connection has ended."""
        self._open -= 1
        self._meters.open_connections.set(self._open)
        if self._is_full and self._open < self._max_connections * _EPISODE_ENDS_BELOW:
            _logger.info("connections are accepted again", refused=self._refused)
            self._is_full, self._refused = False, 0


def fit_to_open_files(max_connections: int) -> int:
    """How many connections the limit on open files allows, at most `max_connections`. Raises the soft limit if it can.

    Without this, the process would run out of files at its cap, and the database and the store would fail as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + SPARE_CONNECTIONS + _OTHER_FILES
    if not max_connections or soft == resource.RLIM_INFINITY or soft >= needed:
        return max_connections
    with suppress(ValueError, OSError):  # a system may allow less than it reports
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = max(1, min(max_connections, soft - SPARE_CONNECTIONS - _OTHER_FILES))
    if fitting < max_connections:
        _logger.warning("the limit on open files lowers the cap on connections", cap=fitting, open_files=soft)
    return fitting
