"""The interface of every engine: what it is given, what it returns, and what observes a render.

Knows nothing of how frames are made; `animatic`, `diffusers` and `veo` implement `Engine`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from phoenix.catalog.model import ModelSpec
from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.stop_token import RenderStopped, StopToken
from phoenix.errors import Stage, TaskFailed

Frame = bytes | memoryview
"""One picture: rgb24, rows from the top, `height * width * 3` bytes."""


@dataclass(frozen=True)
class ClipInputs:
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
        """How the clip looks so far: a JPEG of at most `previews.MAX_PREVIEW_BYTES`."""
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

    def __init__(self, inputs: ClipInputs, observer: RenderObserver) -> None:
        self.inputs = inputs
        self.observer = observer
        self._lock = threading.Lock()
        self._outcome: RenderOutcome | None = None
        self._started = threading.Event()
        self._finished = threading.Event()

    @property
    def clip(self) -> ResolvedClip:
        return self.inputs.clip

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


class Engine(Protocol):
    """Renders clips synchronously: called from as many threads as the device has slots."""

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Renders one clip. Raises `TaskFailed`, or `RenderStopped` when asked to stop."""
        ...

    def loaded_models(self) -> tuple[str, ...]:
        """Ids of the models held in memory now."""
        ...

    def close(self) -> None:
        """Releases the models. Nothing may be rendering."""
        ...


@runtime_checkable
class BatchingEngine(Protocol):
    """An engine that can render several clips in one call."""

    def render_batch(self, requests: Sequence[RenderRequest]) -> None:
        """Renders clips that agree in their `BatchKey`, and finishes each of them, whatever happens."""
        ...


@runtime_checkable
class LoadingEngine(Protocol):
    """An engine whose models take memory, and time to load."""

    def preload(self, model: ModelSpec, stop: StopToken) -> AbstractContextManager[None]:
        """Entered before a call of `model` has its turn, and left when that is over: loads the model meanwhile, if it
        fits beside what computes. Raises `TaskFailed`, or `RenderStopped` when asked to stop.
        """
        ...


class ProcessUnfit(TaskFailed):
    """The attempt failed, and so would every later one in this process: report it, then exit."""


def without_traceback(error: BaseException) -> BaseException:
    """A copy of the error without its traceback, whose frames keep everything in them alive, tensors included.

    An error that is not one of ours is returned as it is.
    """
    if isinstance(error, TaskFailed):
        return type(error)(error.code, error.detail, stage=error.stage, retriable=error.retriable)
    if isinstance(error, RenderStopped):
        return RenderStopped(error.reason)
    return error
