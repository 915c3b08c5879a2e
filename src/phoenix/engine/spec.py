"""The inputs and outputs of engines, and who watches a render. Nothing here knows how frames are made."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from phoenix.catalog.model import ModelSpec
from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.stopping import StopToken
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
