"""When each stage of an attempt began and ended."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from phoenix.errors import Stage

MAX_SPANS = 200
"""A clip that waits between many steps has no more spans than this. Its seconds are complete nevertheless."""


@dataclass(frozen=True)
class StageSpan:
    """A stage, in seconds of the clock of its timeline."""

    stage: Stage
    began_s: float
    ended_s: float


class StageTimeline:
    """The stages of one attempt. Thread-safe: the thread that waits and the thread that renders both enter stages."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._spans: list[StageSpan] = []
        self._seconds: dict[Stage, float] = {}
        self._stage: Stage | None = None
        self._since_s = 0.0

    def enter(self, stage: Stage | None) -> None:
        """Ends the current stage and begins `stage`; None begins no stage."""
        with self._lock:
            self._end()
            self._stage, self._since_s = stage, self._clock()

    def spans(self) -> tuple[StageSpan, ...]:
        """The stages in order. Ends the current stage, and a stage that returns has several spans."""
        with self._lock:
            self._end()
            return tuple(self._spans)

    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage, rounded to milliseconds, in the order in which the stages began first."""
        with self._lock:
            self._end()
            return {stage.value: round(seconds, 3) for stage, seconds in self._seconds.items()}

    def _end(self) -> None:
        if self._stage is None:
            return
        now_s = self._clock()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now_s - self._since_s
        if len(self._spans) < MAX_SPANS:
            self._spans.append(StageSpan(self._stage, self._since_s, now_s))
        self._stage = None
