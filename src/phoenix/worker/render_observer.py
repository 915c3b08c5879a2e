"""Observes one render in its thread: passes stops on, counts steps, and signals changes."""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from phoenix.engine.stop_token import StopToken
from phoenix.errors import Stage
from phoenix.media.ffmpeg import FfmpegCallbacks, Progress
from phoenix.worker.leases import HeldLease, MonotonicClock
from phoenix.worker.progress import RenderProgress
from phoenix.worker.stopwatch import Stopwatch


class ClipObserver:
    """The engine's observer of one clip. `on_change` is called from the thread that renders."""

    def __init__(
        self,
        lease: HeldLease,
        *,
        steps: int,
        num_frames: int,
        on_change: Callable[[], None],
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        self.stopwatch = Stopwatch(clock)
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

    def on_stage(self, stage: Stage) -> None:
        self._lease.record_progress()
        self.stopwatch.enter(stage)
        if stage is Stage.DENOISE and self._denoising_since_s is None:
            self._denoising_since_s = self._clock()
        if stage is Stage.ENCODE:
            self._encoding_since_s = self._clock()
        self.stop.check()

    def on_step(self, step: int, steps: int) -> None:
        self._lease.record_progress()
        # After running out of memory, a second try starts with step 1 again.
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

    def take_preview(self) -> bytes | None:
        """The latest preview since the last call, if there is a new one. May be called from any thread."""
        picture, self._preview = self._preview, None
        return picture

    def ffmpeg_callbacks(self) -> FfmpegCallbacks:
        """The callbacks for the ffmpeg that encodes the clip."""

        def follow(progress: Progress) -> None:
            self._lease.record_progress()
            self._encoded = progress.frames
            self._on_change()

        return FfmpegCallbacks(should_stop=lambda: self.stop.reason is not None, on_progress=follow)

    def progress(self) -> RenderProgress:
        """The current state of the clip. May be called from any thread."""
        now_s = self._clock()
        steps_end_s = self._stepped_at_s if self._step >= self._steps else now_s
        return RenderProgress(
            step=self._step,
            steps=self._steps,
            encoded_share=min(1.0, self._encoded / self._num_frames),
            stepping_s=_since(self._denoising_since_s, steps_end_s),
            finishing_s=now_s - steps_end_s,
            encoding_s=_since(self._encoding_since_s, now_s),
        )


def _since(started_s: float | None, now_s: float) -> float:
    return 0.0 if started_s is None else now_s - started_s


def threadsafe_setter(event: asyncio.Event) -> Callable[[], None]:
    """A callable that sets an event of the running loop from any thread."""
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(event.set)

    return set_event
