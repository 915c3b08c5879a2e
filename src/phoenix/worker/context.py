"""The resources that tasks need: opened once per worker process, and passed to each task."""

import asyncio
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import ParamSpec, TypeVar

from phoenix.assembly.services import Services
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.slots import DeviceSlots, SharedSlots
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, Progress
from phoenix.media.probe import ProbeLimits
from phoenix.media.ssrf import EgressPolicy
from phoenix.settings import Settings, WorkerSettings
from phoenix.worker.leases import HeldLease


class Scratch:
    """The folder of one worker process; after a kill, its supervisor removes it."""

    def __init__(self, worker_id: str) -> None:
        self.path = Path(gettempdir()) / f"phoenix-{worker_id}"

    @contextmanager
    def folder(self) -> Generator[Path]:
        """A folder for one attempt; deleted afterwards with everything in it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.path) as folder:
            yield Path(folder)

    def remove(self) -> None:
        """Removes the worker's folder, if there is one."""
        shutil.rmtree(self.path, ignore_errors=True)


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads:
    """A bounded pool. Work that has started cannot be cancelled, only asked to stop through its token."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="task")

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Calls `function` in a thread, whose log lines carry this task's ids."""

        def call() -> _T:
            return context.run(function, *args, **kwargs)

        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Shuts the pool down without waiting. A thread that hangs is left to the end of the process."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class WorkerContext:
    services: Services
    tools: MediaTools
    egress: EgressPolicy
    limits: ProbeLimits
    engines: EngineRegistry
    threads: Threads
    scratch: Scratch

    def close(self, *, is_idle: bool) -> None:
        """Releases threads, files and, if nothing is rendering any more, the models."""
        self.threads.close()
        self.scratch.remove()
        if is_idle:
            self.engines.close()


def open_worker_context(services: Services, *, device: str, worker_id: str, most_tasks: int) -> WorkerContext:
    """Raises `FfmpegMissing`. Loads no model and imports no torch."""
    settings = services.settings
    return WorkerContext(
        services=services,
        tools=MediaTools.from_settings(settings.media),
        egress=EgressPolicy.from_settings(settings.media),
        limits=ProbeLimits.from_settings(settings),
        engines=_open_engines(settings, device),
        threads=Threads(most_tasks),
        scratch=Scratch(worker_id),
    )


def _open_engines(settings: Settings, device: str) -> EngineRegistry:
    worker = settings.worker
    return EngineRegistry(
        engine=settings.engine,
        animatic=settings.animatic,
        veo=settings.veo,
        device=device,
        slots=open_slots(worker, device),
        operations_dir=settings.data_dir / "veo-operations",
        peak_memory_file=settings.data_dir / "memory-peaks.json",
    )


def open_slots(settings: WorkerSettings, device: str) -> DeviceSlots:
    """The device slots of the process, shared with other processes on its device if so configured; never for a CPU."""
    count, shared = settings.max_concurrent_generations, None
    if settings.slots_dir is not None and device != "cpu":
        shared = SharedSlots(settings.slots_dir, device, count=count)
    return DeviceSlots(count, wait_limit_s=settings.slot_timeout_s, shared=shared)


def ffmpeg_callbacks(lease: HeldLease) -> FfmpegCallbacks:
    """Callbacks that stop ffmpeg with the attempt, and count ffmpeg's progress as the attempt's."""

    def follow(_: Progress) -> None:
        lease.record_progress()

    return FfmpegCallbacks(should_stop=lambda: lease.stop.reason is not None, on_progress=follow)
