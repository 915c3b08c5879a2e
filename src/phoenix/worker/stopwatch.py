"""Measures how long each stage of a task takes."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from phoenix.contract import ClipTimings
from phoenix.errors import Stage
from phoenix.worker.leases import MonotonicClock

_GENERATING = (Stage.TEXT, Stage.DENOISE, Stage.DECODE)
_SUMMED = (*_GENERATING, Stage.QUEUE)


class Stopwatch:
    """Times stages, each of which ends when the next stage begins. A stage that comes again adds up.

    Thread-safe: the thread that waits for a clip and the thread that renders it may both use it.
    """

    def __init__(self, clock: MonotonicClock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started_s = clock()
        self._seconds: dict[Stage, float] = {}
        self._stage: Stage | None = None
        self._since_s = self._started_s

    def enter(self, stage: Stage | None) -> None:
        """Ends the current stage and begins `stage`. With None, no stage is timed until the next call."""
        with self._lock:
            self._enter(stage)

    @contextmanager
    def timing(self, stage: Stage) -> Generator[None]:
        self.enter(stage)
        try:
            yield
        finally:
            self.enter(None)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Counts the block as `Stage.QUEUE`. The stage before it continues afterwards, unless another stage began."""
        before = self._stage
        self.enter(Stage.QUEUE)
        try:
            yield
        finally:
            with self._lock:
                if self._stage is Stage.QUEUE:
                    self._enter(before)

    def seconds(self, *stages: Stage) -> float | None:
        """Seconds in all of `stages`, rounded to milliseconds. None if none of the stages happened."""
        measured = [self._seconds[stage] for stage in stages if stage in self._seconds]
        return round(sum(measured), 3) if measured else None

    def total_s(self) -> float:
        return round(self._clock() - self._started_s, 3)

    def clip_timings(self) -> ClipTimings:
        return ClipTimings(
            load_s=self.seconds(Stage.LOAD),
            text_s=self.seconds(Stage.TEXT),
            denoise_s=self.seconds(Stage.DENOISE),
            decode_s=self.seconds(Stage.DECODE),
            encode_s=self.seconds(Stage.ENCODE),
            upload_s=self.seconds(Stage.UPLOAD),
            total_s=self.total_s(),
        )

    def as_log(self) -> dict[str, float | None]:
        """Seconds of every stage that happened, as fields of a log line."""
        named = {f"{stage}_s": self.seconds(stage) for stage in self._seconds if stage not in _SUMMED}
        generate_s = self.seconds(*_GENERATING)
        wait_s = self.seconds(Stage.QUEUE) or 0.0
        found = {"wait_s": wait_s, "generate_s": generate_s, **named, "total_s": self.total_s()}
        return {name: seconds for name, seconds in found.items() if seconds is not None}

    def _enter(self, stage: Stage | None) -> None:
        now_s = self._clock()
        if self._stage is not None:
            self._seconds[self._stage] = self._seconds.get(self._stage, 0) + now_s - self._since_s
        self._stage, self._since_s = stage, now_s
