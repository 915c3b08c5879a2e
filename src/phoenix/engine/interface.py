"""The interface of every engine: its inputs, its output, and the observer of a render.

The backends `animatic`, `diffusers` and `veo` implement `Engine`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from phoenix.catalog.adapters import AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.contract import ClipWarning, ConditionRole, ResolvedClip
from phoenix.engine.frame_stream import Frame, FrameStream
from phoenix.engine.host_memory import HostMemory
from phoenix.engine.stop_token import RenderStopped, StopToken
from phoenix.errors import Stage, TaskFailed


@dataclass(frozen=True)
class RenderedSound:
    """The sound of a clip, from its first frame on. It may be shorter or longer than the picture.

    `samples` are little-endian 32-bit floats from -1 to 1: for each time, a value per channel.
    """

    samples: bytes = field(repr=False)
    channels: int
    rate_hz: int


@dataclass(frozen=True)
class ConditionFile:
    """A condition of a clip, as a file of this machine.

    A picture is an image file of any size. A video is rgb24, in the size of the clip, frame after frame, at the frame
    rate of the clip. `is_ending`: its frames are the last ones of a video that the clip continues.
    """

    role: ConditionRole
    path: Path
    at_s: float | None = None
    strength: float | None = None
    is_ending: bool = False


@dataclass(frozen=True)
class ClipInputs:
    """One clip to render, and its conditions in the order of the request."""

    clip: ResolvedClip
    model: ModelSpec
    conditions: tuple[ConditionFile, ...] = ()
    adapters: tuple[AdapterUse, ...] = ()
    """The adapters of `clip.loras`, in the same order."""

    def find(self, role: ConditionRole) -> ConditionFile | None:
        """Returns the first condition of this role."""
        return next((each for each in self.conditions if each.role == role), None)


@dataclass(frozen=True)
class RenderedClip:
    """A clip's frames and its sound. `frames` can be read once, in order. They no longer use device memory.

    The last frames may still be on their way: then `frames` waits for them, and raises the error of a clip that fails
    meanwhile. `sound` is None if the model makes none, or if the clip keeps none.
    """

    frames: Iterator[Frame] = field(repr=False)
    width: int
    height: int
    fps: int
    num_frames: int
    sound: RenderedSound | None = None
    batch_size: int = 1
    """Number of clips in the call that rendered this clip, including this clip."""
    warnings: tuple[ClipWarning, ...] = ()

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory that this process had on the device during the call, with the weights. Known after `frames`.

        None on a CPU, and for an engine that does not measure it.
        """
        return self.frames.peak_memory_bytes if isinstance(self.frames, FrameStream) else None

    def when_made(self, callback: Callable[[], object]) -> None:
        """Calls `callback` once the clip needs the device no more; at once if that is so already."""
        if isinstance(self.frames, FrameStream):
            self.frames.when_over(callback)
        else:
            callback()


class RenderObserver(Protocol):
    """Observes one render, in the thread of the render.

    Its methods raise `RenderStopped` after a stop was requested.
    """

    @property
    def stop(self) -> StopToken: ...

    def on_stage(self, stage: Stage) -> None:
        """`stage` begins; the previous stage has ended."""
        ...

    def on_step(self, step: int, steps: int) -> None:
        """Step number `step` (from 1) of `steps` is done."""
        ...

    def on_preview(self, picture: bytes) -> None:
        """The clip at this step: a JPEG of at most `previews.MAX_PREVIEW_BYTES`."""
        ...

    def waiting(self) -> AbstractContextManager[None]:
        """Entered while the render waits for its turn or its model. A render that waits does not count as stalled."""
        ...


class NullObserver:
    """Observes a render and reports nothing: for a warm-up or a benchmark."""

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
    """A clip to render, and its outcome.

    Thread-safe: one thread renders, another may wait. The first outcome counts. The waiting thread may have the clip
    before that, with the frames that are made so far.
    """

    def __init__(self, inputs: ClipInputs, observer: RenderObserver) -> None:
        self.inputs = inputs
        self.observer = observer
        self._lock = threading.Lock()
        self._outcome: RenderOutcome | None = None
        self.frames = FrameStream()
        """The frames that are made. A call that makes the clip again restarts the stream first."""
        self._early: RenderedClip | None = None
        self._started = threading.Event()
        self._available = threading.Event()

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
        """Reports that the call of this request has a slot on the device."""
        self._started.set()

    def hand_over(self, clip: RenderedClip) -> None:
        """Lets the waiting thread read `frames` while the others are made. `finish` follows."""
        self._early = self._early or clip
        self._available.set()

    def finish(self, outcome: RenderOutcome) -> None:
        with self._lock:
            if self._outcome is None:
                self._outcome = outcome
            ended = self._outcome
        self.frames.end(ended if isinstance(ended, BaseException) else None)
        self._started.set()
        self._available.set()

    def finish_stopped(self) -> None:
        """Finishes a request that was asked to stop, and that is no longer part of a call."""
        assert self.observer.stop.reason is not None
        self.finish(RenderStopped(self.observer.stop.reason))

    def finish_if_stopped(self) -> bool:
        """Finishes the request if it was asked to stop. Returns whether it is finished."""
        if self.is_stopped:
            self.finish_stopped()
        return self.is_finished

    def result(self) -> RenderedClip:
        """Returns the rendered clip. Raises its failure, or `RenderStopped`. Call it after the request is finished."""
        assert self._outcome is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def wait_for_start(self) -> None:
        """Waits until the call of this request has a slot, or until the request is finished or asked to stop."""
        with self.observer.stop.on_stop(self._started.set):
            self._started.wait()

    def wait(self) -> RenderedClip:
        """Waits until another thread hands the clip over. Raises its failure, or `RenderStopped` when asked to stop.

        A stop ends the wait at once; the call drops the clip later, as soon as it can.
        """
        with self.observer.stop.on_stop(self._available.set):
            self._available.wait()
        if self._outcome is None:
            self.observer.stop.check()
            if self._early is not None:
                return self._early
        return self.result()


class Engine(Protocol):
    """Renders clips synchronously. As many threads as the device has slots may call it at a time."""

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Renders one clip. Raises `TaskFailed`, or `RenderStopped` when asked to stop."""
        ...

    def loaded_models(self) -> tuple[str, ...]:
        """Ids of the models in memory."""
        ...

    def close(self) -> None:
        """Releases the models. Call it only while no render is running."""
        ...


@runtime_checkable
class BatchingEngine(Protocol):
    """An engine that can render several clips in one call."""

    def render_batch(self, requests: Sequence[RenderRequest]) -> None:
        """Renders clips with equal `BatchKey`s. Finishes every request, also after an error."""
        ...


@runtime_checkable
class LoadingEngine(Protocol):
    """An engine whose models take memory, and time to load."""

    def preload(self, model: ModelSpec, stop: StopToken, *, has_adapters: bool = False) -> AbstractContextManager[None]:
        """Loads `model` before its call has a slot, if the model fits in memory together with the running calls.

        Loads nothing for a call with adapters that needs weights of its own. The context covers the wait for the slot
        and the call. Raises `TaskFailed`, or `RenderStopped` when asked to
        stop.
        """
        ...


@runtime_checkable
class UnloadingEngine(Protocol):
    """An engine that can drop a model while it renders others."""

    def unload(self, model_id: str) -> None:
        """Drops the model from memory unless a call uses it. Harmless if it is not there."""
        ...


@runtime_checkable
class HostMemoryEngine(Protocol):
    """An engine whose models may be in the memory of the machine."""

    def host_memory(self) -> HostMemory: ...


@dataclass(frozen=True)
class EngineCounts:
    """What an engine has done since its process began."""

    loads: int = 0
    """Models that were loaded."""
    evictions: int = 0
    """Models that were removed from memory."""
    fallbacks: int = 0
    """Calls that were made again at a higher fallback level, after a memory shortage."""

    def plus(self, other: "EngineCounts") -> "EngineCounts":
        return EngineCounts(
            self.loads + other.loads, self.evictions + other.evictions, self.fallbacks + other.fallbacks
        )


@runtime_checkable
class CountingEngine(Protocol):
    """An engine that counts its loads, evictions and fallbacks."""

    def counts(self) -> EngineCounts: ...


class ProcessUnfit(TaskFailed):
    """The attempt failed, and every later attempt in this process would fail: the worker reports it, then exits."""


def without_traceback(error: BaseException) -> BaseException:
    """Returns a copy of the error without its traceback: the frames of a traceback keep tensors alive.

    Copies only `TaskFailed` and `RenderStopped`; returns any other error unchanged.
    """
    if isinstance(error, TaskFailed):
        return type(error)(error.code, error.detail, stage=error.stage, retriable=error.retriable)
    if isinstance(error, RenderStopped):
        return RenderStopped(error.reason)
    return error
