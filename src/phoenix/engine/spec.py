"""The inputs and outputs of engines, and who watches a render. Nothing here knows how frames are made."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from phoenix.catalog.model import ModelSpec
from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.cancellation import RenderStopped, StopToken
from phoenix.errors import Stage

MAX_PREVIEW_BYTES = 7_400
"""As a data URL it is a third larger: still below 10 kB."""

Frame = bytes | memoryview
"""One picture: rgb24, rows from the top, `height * width * 3` bytes."""


@dataclass(frozen=True)
class ClipJob:
    """One clip to render. `image_path` is its first frame, fetched already, for models that take one."""

    clip: ResolvedClip
    model: ModelSpec
    image_path: Path | None = None


@dataclass(frozen=True)
class RenderedClip:
    """A clip's frames, to be read once and in order. They no longer take up device memory."""

    frames: Iterator[Frame] = field(repr=False)
    width: int
    height: int
    fps: int
    num_frames: int
    batch_size: int = 1
    """Clips that were rendered in the same call, this one included."""


class RenderObserver(Protocol):
    """Observes one render, called in its thread. Raises `RenderStopped` once a stop was asked for."""

    @property
    def stop(self) -> StopToken: ...

    def on_stage(self, stage: Stage) -> None:
        """`stage` begins; the previous one has ended."""
        ...

    def on_step(self, step: int, steps: int) -> None:
        """Step number `step` (from 1) of `steps` is done."""
        ...

    def on_preview(self, picture: bytes) -> None:
        """How the clip looks so far: a JPEG of at most `MAX_PREVIEW_BYTES`."""
        ...

    def waiting(self) -> AbstractContextManager[None]:
        """Entered while the render waits for its turn, or its model: to stand still is no fault then."""
        ...


class NullObserver:
    """The observer of a render that nobody follows: a warm-up, a benchmark."""

    def __init__(self, stop: StopToken | None = None) -> None:
        self.stop = stop or StopToken()

    def on_stage(self, stage: Stage) -> None:  # noqa: ARG002
        self.stop.check()

    def on_step(self, step: int, steps: int) -> None:  # noqa: ARG002
        self.stop.check()

    def on_preview(self, picture: bytes) -> None:
        pass

    def waiting(self) -> AbstractContextManager[None]:
        return nullcontext()


RenderOutcome = RenderedClip | BaseException


class RenderRequest:
    """Thread-safe: one thread renders, another may wait. Only the first outcome counts."""

    def __init__(self, job: ClipJob, observer: RenderObserver) -> None:
        self.job = job
        self.observer = observer
        self._lock = threading.Lock()
        self._outcome: RenderOutcome | None = None
        self._started = threading.Event()
        self._finished = threading.Event()

    @property
    def clip(self) -> ResolvedClip:
        return self.job.clip

    @property
    def is_stopped(self) -> bool:
        return self.observer.stop.reason is not None

    @property
    def is_finished(self) -> bool:
        return self._outcome is not None

    @property
    def has_succeeded(self) -> bool:
        return isinstance(self._outcome, RenderedClip)

    def start(self) -> None:
        """Its call has a slot on the device."""
        self._started.set()

    def finish(self, outcome: RenderOutcome) -> None:
        with self._lock:
            if self._outcome is None:
                self._outcome = outcome
        self._started.set()
        self._finished.set()

    def finish_stopped(self) -> None:
        """It was asked to stop, and has left the call."""
        assert self.observer.stop.reason is not None
        self.finish(RenderStopped(self.observer.stop.reason))

    def result(self) -> RenderedClip:
        """The rendered clip. Raises its failure, or `RenderStopped`. Call it once the request is finished."""
        assert self._outcome is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def wait(self) -> RenderedClip:
        """Waits for another thread to finish it; returns at once if stopped: the call drops the clip when it can."""
        with self.observer.stop.on_stop(self._started.set), self.observer.stop.on_stop(self._finished.set):
            with self.observer.waiting():
                self._started.wait()
            self._finished.wait()
        if self._outcome is None:
            self.observer.stop.check()
        return self.result()
