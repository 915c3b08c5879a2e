"""Observes one render from its thread: forwards stops, counts steps, times stages, and signals changes."""

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from phoenix.contract import ClipTimings
from phoenix.engine.stop_token import StopToken
from phoenix.errors import Stage
from phoenix.jobs.scheduling.durations import DurationPerWeight
from phoenix.jobs.scheduling.eta import blend_estimate
from phoenix.media.ffmpeg import FfmpegCallbacks, Progress
from phoenix.worker.leases import HeldLease, MonotonicClock

_GENERATING = (Stage.TEXT, Stage.DENOISE, Stage.DECODE)
_SUMMED = (*_GENERATING, Stage.QUEUE)


class Stopwatch:
    """Times stages, each of which ends when the next stage begins. A stage that comes again adds up.

    Thread-safe: the thread that waits for a clip and the thread that renders it may both use it.
    """

    def __init__(
        self, clock: MonotonicClock = time.monotonic, *, on_enter: Callable[[Stage | None], None] | None = None
    ) -> None:
        """`on_enter` gets each stage that begins, and None between two stages."""
        self._clock = clock
        self._on_enter = on_enter
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
            postprocess_s=self.seconds(Stage.POSTPROCESS),
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
        if self._on_enter is not None:
            self._on_enter(stage)


STEPS_SHARE = 0.9
"""The share of the denoising steps in the progress of a clip. Encoding has the rest."""

STEPS_SHARE_BEFORE_POSTPROCESSING = 0.6
"""The same for a clip whose frames are upscaled or interpolated before they are encoded."""


@dataclass(frozen=True)
class RenderProgress:
    """How far the render of a clip is: its steps, and the decoding and encoding after them. Pure."""

    step: int
    steps: int
    encoded_share: float
    stepping_s: float
    finishing_s: float = 0.0
    """Seconds since the last step, spent on decoding, encoding and storing."""
    encoding_s: float = 0.0
    steps_share: float = STEPS_SHARE

    @property
    def progress(self) -> float:
        """The finished fraction of the clip, from 0 to 1."""
        stepped_share = self.step / max(self.steps, 1)
        return min(1.0, self.steps_share * stepped_share + (1 - self.steps_share) * self.encoded_share)

    def eta_s(self, duration: DurationPerWeight | None, weight: float) -> float | None:
        """Seconds until the clip is done, from its speed so far and the learned duration.

        None without a learned duration, because the steps do not show how long decoding and encoding will take.
        """
        if duration is None:
            return None
        steps_s = max(0.0, duration.total_s - duration.finish_s) * weight
        steps_left_s = blend_estimate(steps_s, elapsed_s=self.stepping_s, progress=self.step / max(self.steps, 1))
        return (steps_left_s or 0.0) + self._finish_left_s(duration.finish_s * weight)

    def _finish_left_s(self, learned_s: float) -> float:
        at_current_speed_s = blend_estimate(None, elapsed_s=self.encoding_s, progress=self.encoded_share) or 0.0
        return max(learned_s - self.finishing_s, at_current_speed_s)


class ClipObserver:
    """Receives the calls of the engine about one clip. The rendering thread calls `on_change`."""

    def __init__(
        self,
        lease: HeldLease,
        *,
        steps: int,
        num_frames: int,
        on_change: Callable[[], None],
        is_postprocessed: bool = False,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        self.stopwatch = Stopwatch(clock, on_enter=lease.enter_stage)
        self._is_postprocessed = is_postprocessed
        self._finish_lock = threading.Lock()
        self._is_made, self._is_changed = False, True
        self._lease = lease
        self._steps = steps
        self._num_frames = num_frames
        self._on_change = on_change
        self._clock = clock
        self._step = 0
        self._encoded = 0
        self._preview: bytes | None = None
        self._denoising_since_s: float | None = None
        self._stepped_at_s = 0.0
        self._encoding_since_s: float | None = None

    @property
    def stop(self) -> StopToken:
        return self._lease.stop

    @property
    def stage(self) -> Stage:
        """What the attempt does now."""
        return self._lease.stage

    def on_stage(self, stage: Stage) -> None:
        self._lease.record_progress()
        self.stopwatch.enter(stage)
        if stage is Stage.DENOISE and self._denoising_since_s is None:
            self._denoising_since_s = self._clock()
        self.stop.check()

    def on_step(self, step: int, steps: int) -> None:
        self._lease.record_progress()
        # After an out-of-memory error the second try starts again with step 1.
        self._step, self._steps = max(step, self._step), steps
        self._stepped_at_s = self._clock()
        self._on_change()
        self.stop.check()

    def on_preview(self, picture: bytes) -> None:
        self._preview = picture
        self._on_change()

    @contextmanager
    def waiting(self) -> Generator[None]:
        with self._lease.pause_stall_timer(), self.stopwatch.waiting():
            yield

    def begin_postprocessing(self) -> None:
        """The frames will be changed before they are encoded. Call it before the first one is made."""
        self._is_changed = False

    def on_made(self) -> None:
        """The engine has made all frames."""
        with self._finish_lock:
            self._is_made = True
            self.stopwatch.enter(Stage.ENCODE if self._is_changed else Stage.POSTPROCESS)

    def end_postprocessing(self) -> None:
        """All frames are changed."""
        with self._finish_lock:
            self._is_changed = True
            if self._is_made:
                self.stopwatch.enter(Stage.ENCODE)

    def check(self) -> None:
        """The work advances. Raises `RenderStopped` when asked to stop."""
        self._lease.record_progress()
        self.stop.check()

    def take_preview(self) -> bytes | None:
        """The latest preview, or None without a new one since the last call. Any thread may call it."""
        picture, self._preview = self._preview, None
        return picture

    def ffmpeg_callbacks(self) -> FfmpegCallbacks:
        """Callbacks for the ffmpeg process that encodes the clip, which begins now."""
        self._lease.record_progress()
        self._encoding_since_s = self._clock()

        def follow(progress: Progress) -> None:
            self._lease.record_progress()
            self._encoded = progress.frames
            self._on_change()

        return FfmpegCallbacks(should_stop=lambda: self.stop.reason is not None, on_progress=follow)

    def progress(self) -> RenderProgress:
        """The current state of the render. Any thread may call it."""
        now_s = self._clock()
        steps_end_s = self._stepped_at_s if self._step >= self._steps else now_s
        return RenderProgress(
            step=self._step,
            steps=self._steps,
            encoded_share=min(1.0, self._encoded / self._num_frames),
            stepping_s=_since(self._denoising_since_s, steps_end_s),
            finishing_s=now_s - steps_end_s,
            encoding_s=_since(self._encoding_since_s, now_s),
            steps_share=STEPS_SHARE_BEFORE_POSTPROCESSING if self._is_postprocessed else STEPS_SHARE,
        )


def _since(started_s: float | None, now_s: float) -> float:
    return 0.0 if started_s is None else now_s - started_s


def threadsafe_setter(event: asyncio.Event) -> Callable[[], None]:
    """A function that sets an event of the running loop from any thread."""
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(event.set)

    return set_event
