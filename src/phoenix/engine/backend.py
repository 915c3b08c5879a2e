"""The interface of every engine; `animatic`, `diffusers` and `veo` implement it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from phoenix.catalog.model import ModelSpec
from phoenix.engine.cancellation import RenderStopped, StopToken
from phoenix.engine.spec import ClipJob, RenderedClip, RenderObserver, RenderRequest
from phoenix.errors import TaskFailed


class Engine(Protocol):
    """Renders clips synchronously: called from as many threads as the device has slots."""

    def render(self, job: ClipJob, observer: RenderObserver) -> RenderedClip:
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
