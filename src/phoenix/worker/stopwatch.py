"""How long each stage of a task took."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from phoenix.contract.jobs import ClipTimings
from phoenix.errors import Stage
from phoenix.worker.lease import MonotonicClock

_GENERATING = (Stage.TEXT, Stage.DENOISE, Stage.DECODE)


class Stopwatch:
    """Stages follow one another: each ends where the next begins. A stage may come again, and then adds up."""

    def __init__(self, clock: MonotonicClock = time.monotonic) -> None:
        self._clock = clock
        self._started_s = clock()
        self._seconds: dict[Stage, float] = {}
        self._stage: Stage | None = None
        self._since_s = self._started_s
        self.waited_s = 0.0

    def enter(self, stage: Stage | None) -> None:
        """`stage` begins; None: nothing that is counted."""
        now_s = self._clock()
        if self._stage is not None:
            self._seconds[self._stage] = self._seconds.get(self._stage, 0) + now_s - self._since_s
        self._stage, self._since_s = stage, now_s

    @contextmanager
    def timing(self, stage: Stage) -> Generator[None]:
        self.enter(stage)
        try:
            yield
        finally:
            self.enter(None)

    def seconds(self, *stages: Stage) -> float | None:
        """In all of `stages`, to the millisecond; None if none of them happened."""
        spent = [self._seconds[stage] for stage in stages if stage in self._seconds]
        return round(sum(spent), 3) if spent else None

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
        """Of every stage that happened, for one log line."""
        named = {f"{stage}_s": self.seconds(stage) for stage in self._seconds if stage not in _GENERATING}
        generate_s = self.seconds(*_GENERATING)
        found = {"wait_s": round(self.waited_s, 3), "generate_s": generate_s, **named, "total_s": self.total_s()}
        return {name: seconds for name, seconds in found.items() if seconds is not None}
