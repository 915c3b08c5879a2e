"""Renders and encodes the clips of a benchmark on this machine, without a server or a database. Keeps no files."""

import asyncio
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.cli.bench.report import BenchReport, Machine, PeakMemory, make_report
from phoenix.cli.console import read_settings
from phoenix.cli.options import resolve_reel
from phoenix.contract import (
    TIMED_ROLES,
    ClipTimings,
    Condition,
    ConditionSource,
    ReelRequest,
    ResolvedClip,
    ResolvedReel,
)
from phoenix.engine.conditions.trial import make_trial_conditions
from phoenix.engine.device import open_meter, pick_device
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver, RenderedClip
from phoenix.engine.readiness import list_gpus
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import StopReason, StopToken
from phoenix.errors import PhoenixError, Stage
from phoenix.ids import new_artifact_id
from phoenix.media.encoders import open_tools
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.settings import Settings
from phoenix.worker.render import write_frames
from phoenix.worker.render_observer import Stopwatch

CPU_INFO = Path("/proc/cpuinfo")
# Runs in a separate process, as in `phoenix doctor`, because this package must not import torch.
NAME_GPU = "import sys, torch; print(torch.cuda.get_device_name(sys.argv[1]))"
NAMED_WITHIN_S = 60
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


class MadeElsewhere(PhoenixError):
    """A service on the network makes the clips of the model, for money. They say nothing about this machine."""


def find_model_and_reel(request: ReelRequest) -> tuple[ModelSpec, ResolvedReel, Settings]:
    """Reads the settings and the catalog. Raises `NotFound`, `InvalidRequest` or `MadeElsewhere`."""
    settings = read_settings()
    catalog = load_catalog(settings.engine.catalog_file)
    model = catalog.get(request.model or settings.engine.default_model)
    if model.engine == "veo":
        raise MadeElsewhere
    return model, resolve_reel(_with_conditions(request, model), catalog, settings), settings


def _with_conditions(request: ReelRequest, model: ModelSpec) -> ReelRequest:
    """The request with the conditions that the model needs. Their files do not affect the speed."""
    needed = [
        Condition(
            role=role, source=ConditionSource(artifact_id=new_artifact_id()), at_s=0 if role in TIMED_ROLES else None
        )
        for role in model.needed_roles
    ]
    clips = [clip.model_copy(update={"conditions": needed}) for clip in request.clips]
    return request.model_copy(update={"clips": clips})


def find_machine(model: ModelSpec, device: str) -> Machine:
    """The device that would render `model`. Raises `NoSuchDevice`."""
    # The CPU draws animatics, even on a machine with a GPU.
    found = "cpu" if model.engine == "animatic" else pick_device(device)
    return Machine(device=found, name=_cpu_name() if found == "cpu" else _gpu_name(found))


def find_devices(model: ModelSpec, device: str) -> list[str]:
    """Every device of the kind that `auto` picks, or the device that is named. Raises `NoSuchDevice`."""
    if model.engine == "animatic":
        return ["cpu"]
    found = pick_device(device)
    if device != "auto" or found == "cpu":
        return [found]
    return [f"cuda:{number}" for number in range(len(asyncio.run(list_gpus())))] or [found]


def peak_memory(machine: Machine) -> PeakMemory:
    """Peak memory in bytes: of this process's allocator on a GPU, or of this process on a CPU."""
    meter = open_meter(machine.device)
    if meter is not None:
        return PeakMemory(peak_bytes=meter.peak_bytes(), of="device")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return PeakMemory(peak_bytes=resident * RSS_UNIT_BYTES, of="process")


def _gpu_name(device: str) -> str:
    argv = [sys.executable, "-c", NAME_GPU, device]
    named = subprocess.run(argv, capture_output=True, text=True, timeout=NAMED_WITHIN_S, check=False)  # noqa: S603
    return named.stdout.strip() or "unknown name"


def _cpu_name() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(request: ReelRequest, *, count: int, device: str, show_status: Callable[[str], None]) -> BenchReport:
    """Measures `count` clips. Raises `NotFound`, `InvalidRequest`, `MadeElsewhere`, and the errors of `run_clips`."""
    model, reel, settings = find_model_and_reel(request)
    return run_clips(model, reel, settings, count=count, device=device, show_status=show_status)


def run_clips(
    model: ModelSpec,
    reel: ResolvedReel,
    settings: Settings,
    *,
    count: int,
    device: str,
    show_status: Callable[[str], None],
) -> BenchReport:
    """Makes the clip of `reel` once to warm up, and then `count` times with other seeds.

    `show_status` gets a text before each clip. Raises `TaskFailed`, `NoSuchDevice` or `FfmpegMissing`.
    """
    machine = find_machine(model, device)
    with open_bench(model, reel, settings, machine.device) as bench:
        show_status("warming up")
        warm_up = bench.make(reel.clips)[0]
        began_s = time.perf_counter()
        timings = bench.make(_copies(reel.clips[0], count), show_status)
        elapsed_s = time.perf_counter() - began_s
        memory = peak_memory(machine)
    return make_report(machine, reel, warm_up=warm_up, clips=timings, elapsed_s=elapsed_s, memory=memory)


@dataclass(frozen=True)
class Bench:
    """A benchmark of one model on one device. `stop` ends the running render and encoding."""

    engines: EngineRegistry
    model: ModelSpec
    tools: MediaTools
    folder: Path
    conditions: tuple[ConditionFile, ...]
    stop: StopToken

    def make(
        self, clips: Sequence[ResolvedClip], show_status: Callable[[str], None] | None = None
    ) -> list[ClipTimings]:
        """Renders each clip while the previous clip is encoded, like a worker with a `pipeline_depth` of 1."""
        encoded: list[Future[ClipTimings]] = []
        with ThreadPoolExecutor(max_workers=1) as encoder, self._stopping():
            for clip in clips:
                if show_status:
                    show_status(f"clip {clip.index} of {len(clips)}")
                observer = TimingObserver(self.stop)
                rendered = self.engines.render(ClipInputs(clip, self.model, self.conditions), observer)
                rendered.when_made(partial(observer.stopwatch.enter, None))
                if encoded:
                    encoded[-1].result()
                encoded.append(encoder.submit(self._encode, clip, rendered, observer))
            return [timings.result() for timings in encoded]

    def _encode(self, clip: ResolvedClip, rendered: RenderedClip, observer: "TimingObserver") -> ClipTimings:
        output = self.folder / f"{clip.index}.mp4"
        # The first frames are encoded while the last ones are decoded: that time is the decode's.
        rendered.when_made(partial(observer.stopwatch.enter, Stage.ENCODE))
        callbacks = FfmpegCallbacks(lambda: self.stop.reason is not None)
        write_frames(clip, rendered, output, tools=self.tools, callbacks=callbacks)
        observer.stopwatch.enter(None)
        output.unlink()
        return observer.stopwatch.clip_timings()

    @contextmanager
    def _stopping(self) -> Generator[None]:
        """Stops the encoder on an error or Ctrl-C, which otherwise would wait minutes for a long clip."""
        try:
            yield
        except BaseException:
            self.stop.stop(StopReason.CANCEL)
            raise


class TimingObserver(NullObserver):
    """Times each stage, and reports nothing."""

    def __init__(self, stop: StopToken) -> None:
        super().__init__(stop)
        self.stopwatch = Stopwatch()

    def on_stage(self, stage: Stage) -> None:
        self.stopwatch.enter(stage)
        super().on_stage(stage)


@contextmanager
def open_bench(
    model: ModelSpec, reel: ResolvedReel, settings: Settings, device: str, *, batch: int = 1
) -> Generator[Bench]:
    """A benchmark whose calls of the model have at most `batch` clips. Removes its files at the end."""
    tools = open_tools(settings.media, device=device)
    # With clips that come one at a time, the engine must not wait to batch them.
    engine = settings.engine.model_copy(update={"max_batch_size": batch})
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="phoenix-bench-")))
        engines = EngineRegistry(engine=engine, animatic=settings.animatic, device=device)
        opened.callback(engines.close)
        conditions = make_trial_conditions(model, reel.clips[0], folder)
        yield Bench(engines, model, tools, folder, conditions, StopToken())


def _copies(clip: ResolvedClip, count: int) -> list[ResolvedClip]:
    seeds = range(1, count + 1)
    return [clip.model_copy(update={"index": seed, "seed": seed}) for seed in seeds]
