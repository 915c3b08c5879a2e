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


class Watcher(Protocol):
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


class Unwatched:
    """The watcher of a render that nobody follows: a warm-up, a benchmark."""

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


Outcome = RenderedClip | BaseException


class Member:
    """Thread-safe: one thread renders, another may wait. Only the first outcome counts."""

    def __init__(self, job: ClipJob, watcher: Watcher) -> None:
        self.job = job
        self.watcher = watcher
        self._settling = threading.Lock()
        self._outcome: Outcome | None = None
        self._begun = threading.Event()
        self._over = threading.Event()

    @property
    def clip(self) -> ResolvedClip:
        return self.job.clip

    @property
    def is_stopped(self) -> bool:
        return self.watcher.stop.reason is not None

    @property
    def is_settled(self) -> bool:
        return self._outcome is not None

    @property
    def has_clip(self) -> bool:
        return isinstance(self._outcome, RenderedClip)

    def begin(self) -> None:
        """Its call has a slot on the device."""
        self._begun.set()

    def settle(self, outcome: Outcome) -> None:
        with self._settling:
            if self._outcome is None:
                self._outcome = outcome
        self._begun.set()
        self._over.set()

    def settle_stopped(self) -> None:
        """It was asked to stop, and has left the call."""
        assert self.watcher.stop.reason is not None
        self.settle(RenderStopped(self.watcher.stop.reason))

    def result(self) -> RenderedClip:
        """The rendered clip. Raises its failure, or `RenderStopped`. Call it once the member is settled."""
        assert self._outcome is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def wait(self) -> RenderedClip:
        """Waits for another thread to settle it; returns at once if stopped: the call drops the clip when it can."""
        with self.watcher.stop.calling(self._begun.set), self.watcher.stop.calling(self._over.set):
            with self.watcher.waiting():
                self._begun.wait()
            self._over.wait()
        if self._outcome is None:
            self.watcher.stop.check()
        return self.result()
