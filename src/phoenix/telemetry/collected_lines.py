"""Collects the log lines of one piece of work, within a bound, in addition to writing them to stderr."""

import threading
from collections import deque
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

FIRST_LINES, LAST_LINES = 20, 80
"""Of more lines than these, those in between are dropped: the beginning and the end explain an attempt."""

MAX_TEXT_LENGTH = 500
"""Characters of one value. Longer values are cut."""

MAX_FIELDS = 20

_LEVELS = frozenset({"info", "warning", "error", "critical"})
# Equal in all lines of an attempt, and known from its row.
_CONTEXT = frozenset({"request_id", "job_id", "task_id", "attempt", "trace_id"})
_OF_THE_LINE = frozenset(
    {"event", "level", "timestamp", "logger", "exc_info", "stack_info", "_record", "_from_structlog"}
)

Line = Mapping[str, Any]
"""`at` (ISO 8601), `level`, `message` and `fields`. All values can be written as JSON."""


class LineCollector:
    """The collected lines, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: list[Line] = []
        self._last: deque[Line] = deque(maxlen=LAST_LINES)

    def add(self, event: Mapping[str, Any]) -> None:
        """Adds a line as structlog has it before it is rendered. Ignores lines below INFO."""
        if event.get("level") not in _LEVELS:
            return
        line = _read(event)
        with self._lock:
            if len(self._first) < FIRST_LINES:
                self._first.append(line)
            else:
                self._last.append(line)

    def lines(self) -> Sequence[Line]:
        with self._lock:
            return (*self._first, *self._last)


_collector: ContextVar[LineCollector | None] = ContextVar("line_collector", default=None)


@contextmanager
def collect_lines() -> Generator[LineCollector]:
    """Collects the lines that are logged in the block, and in tasks and threads that were started with its context."""
    collector = LineCollector()
    token = _collector.set(collector)
    try:
        yield collector
    finally:
        _collector.reset(token)


def collecting(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor of structlog that fills the collector of the current context, if there is one."""
    collector = _collector.get()
    if collector is not None:
        collector.add(event)
    return event


def _read(event: Mapping[str, Any]) -> Line:
    names = [name for name in event if name not in _CONTEXT and name not in _OF_THE_LINE]
    fields = {name: _as_json(event[name]) for name in names[:MAX_FIELDS]}
    error = event.get("exc_info")
    if isinstance(error, BaseException):
        fields["error"] = _as_json(f"{type(error).__name__}: {error}")
    return {
        "at": event.get("timestamp"),
        "level": event["level"],
        "message": _as_json(str(event.get("event", ""))),
        "fields": fields,
    }


def _as_json(value: Any) -> str | float | int | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    # PostgreSQL cannot store NUL.
    text = str(value).replace("\x00", "")
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]} …"
