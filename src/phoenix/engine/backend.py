"""The seam that every engine fills: `animatic`, `diffusers` and `veo` ship."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from phoenix.engine.member import Member
from phoenix.engine.spec import ClipJob, RenderedClip, Watcher
from phoenix.engine.stopping import RenderStopped
from phoenix.errors import TaskFailed


class Engine(Protocol):
    """Renders clips, synchronously: call it from as many executor threads as the device has slots."""

    def render(self, job: ClipJob, watcher: Watcher) -> RenderedClip:
        """Makes the frames of one clip. Raises `TaskFailed`, or `RenderStopped` when asked to."""
        ...

    def loaded_models(self) -> tuple[str, ...]:
        """Ids of the models held in memory now."""
        ...

    def close(self) -> None:
        """Lets go of the models. Nothing may be rendering."""
        ...


@runtime_checkable
class BatchingEngine(Protocol):
    """An engine that can make several clips in one call."""

    def render_together(self, members: Sequence[Member]) -> None:
        """Renders clips that agree in their `BatchKey`, and settles each of them, whatever happens."""
        ...


class ProcessUnfit(TaskFailed):
    """The attempt failed, and so would every later one in this process: report it, then exit."""


def renewed(error: BaseException) -> BaseException:
    """The same news in an error of its own: one that was raised keeps its traceback, and all that was in those frames.

    Of an error that is not one of ours the original is returned.
    """
    if isinstance(error, TaskFailed):
        return type(error)(error.code, error.detail, stage=error.stage, retriable=error.retriable)
    if isinstance(error, RenderStopped):
        return RenderStopped(error.reason)
    return error
