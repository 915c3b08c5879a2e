"""The resources that tasks need: opened once per worker process, and passed to each task."""

from dataclasses import dataclass

from phoenix.assembly.services import Services
from phoenix.engine.registry import Engines
from phoenix.engine.shared_slots import SharedSlots
from phoenix.engine.slots import DeviceSlots
from phoenix.media.egress import EgressPolicy
from phoenix.media.ffmpeg import Progress, Watch
from phoenix.media.probe import ProbeLimits
from phoenix.media.tools import MediaTools
from phoenix.settings import Settings, WorkerSettings
from phoenix.worker.lease import Lease
from phoenix.worker.scratch import Scratch
from phoenix.worker.threads import Threads


@dataclass(frozen=True)
class Workshop:
    services: Services
    tools: MediaTools
    egress: EgressPolicy
    limits: ProbeLimits
    engines: Engines
    threads: Threads
    scratch: Scratch

    def close(self, *, is_idle: bool) -> None:
        """Releases threads, files and, if nothing is rendering any more, the models."""
        self.threads.close()
        self.scratch.remove()
        if is_idle:
            self.engines.close()


def open_workshop(services: Services, *, device: str, worker_id: str, most_tasks: int) -> Workshop:
    """Raises `FfmpegMissing`. Loads no model and imports no torch."""
    settings = services.settings
    return Workshop(
        services=services,
        tools=MediaTools.from_settings(settings.media),
        egress=EgressPolicy.from_settings(settings.media),
        limits=ProbeLimits.from_settings(settings),
        engines=_open_engines(settings, device),
        threads=Threads(most_tasks),
        scratch=Scratch(worker_id),
    )


def _open_engines(settings: Settings, device: str) -> Engines:
    worker = settings.worker
    return Engines(
        engine=settings.engine,
        animatic=settings.animatic,
        veo=settings.veo,
        device=device,
        slots=open_slots(worker, device),
        notes_dir=settings.data_dir / "veo-operations",
        peaks_file=settings.data_dir / "memory-peaks.json",
    )


def open_slots(settings: WorkerSettings, device: str) -> DeviceSlots:
    """The device slots of the process, shared with other processes on its device if so configured; never for a CPU."""
    count, shared = settings.max_concurrent_generations, None
    if settings.slots_dir is not None and device != "cpu":
        shared = SharedSlots(settings.slots_dir, device, count=count)
    return DeviceSlots(count, wait_limit_s=settings.slot_timeout_s, shared=shared)


def media_watch(lease: Lease) -> Watch:
    """A watch that stops ffmpeg with the attempt, and counts ffmpeg's progress as the attempt's."""

    def follow(_: Progress) -> None:
        lease.advance()

    return Watch(should_stop=lambda: lease.stop.reason is not None, on_progress=follow)
