"""What keeps the engines of a service: they join its queue, and all have the same models."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.frames.frame_queue import FrameQueue
from phoenix.frames.interface import EngineHealth, FrameRequest
from phoenix.frames.renderer import BatchRenderer, RendererOptions

_T = TypeVar("_T")


class EnginePool(Protocol):
    """The engines of a service."""

    async def start(self) -> None:
        """Returns when an engine has joined the queue. Raises `Unavailable` if none can be started."""
        ...

    async def load(self, spec: LipModelSpec) -> None:
        """Has the model in the memory of every engine. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
        ...

    def forget(self, video_id: str) -> None:
        """Has the engines unmap a video that was removed."""
        ...

    def health(self) -> tuple[EngineHealth, ...]: ...

    async def close(self) -> None: ...


class ThreadEngine:
    """An engine in a thread of this process, for services without processes: an `EnginePool` of one `FrameEngine`."""

    def __init__(self, queue: FrameQueue, options: RendererOptions) -> None:
        self.device = options.device
        self._queue = queue
        self._renderer = BatchRenderer(options)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="frames")

    async def start(self) -> None:
        self._queue.join(self)

    async def load(self, spec: LipModelSpec) -> None:
        await self._run(lambda: self._renderer.load(spec))

    async def render(self, model: str, batch: Sequence[FrameRequest]) -> Sequence[bytes]:
        return await self._run(lambda: self._renderer.render(model, batch))

    def forget(self, video_id: str) -> None:
        self._thread.submit(self._renderer.forget, video_id)

    def health(self) -> tuple[EngineHealth, ...]:
        return (EngineHealth(self.device, None, True, 0, self._queue.frames_made_by(self)),)

    async def close(self) -> None:
        self._thread.shutdown()

    async def _run(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
