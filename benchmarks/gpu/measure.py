"""What the engine costs and gains over diffusers alone, on full-size Wan 1.3B with random weights, or small on a CPU.

    python benchmarks/gpu/measure.py [--size auto|full|small] [--rounds 3] [--out results.json]

Prints a table and writes every figure as JSON. Contenders take turns in each round, so that a machine that slows down
slows both; a ratio is the median of those of the rounds. The ratio of the quickest rounds stands beside it: on a shared
machine the others say as much of the neighbours.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from contenders import BareLoop, Service
from wan import save_wan, wan_spec

from phoenix.catalog.model import ModelSpec
from phoenix.clock import utc_now
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.device import open_meter, pick_device
from phoenix.engine.interface import ClipInputs, NullObserver, RenderRequest
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.media.ffmpeg import MediaTools
from phoenix.settings import AnimaticSettings, EngineSettings, MediaSettings


@dataclass(frozen=True)
class Shape:
    width: int
    height: int
    num_frames: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.num_frames}"


@dataclass(frozen=True)
class Plan:
    """What is measured at one size of model."""

    steps: int
    clips: int
    encoding: MediaSettings
    main: Shape
    batches: tuple[tuple[Shape, int], ...]
    stops: int


FULL = Plan(
    steps=20,
    clips=4,
    encoding=MediaSettings(),
    main=Shape(832, 480, 49),
    batches=((Shape(448, 256, 17), 2), (Shape(448, 256, 17), 4), (Shape(576, 320, 33), 2), (Shape(832, 480, 49), 2)),
    stops=10,
)
SMALL = Plan(
    steps=4,
    clips=8,
    encoding=MediaSettings(preset="medium", threads=1),
    main=Shape(256, 256, 17),
    batches=((Shape(64, 64, 9), 2), (Shape(64, 64, 9), 4), (Shape(128, 128, 17), 2), (Shape(256, 256, 17), 2)),
    stops=10,
)
"""One core plays the device, since torch has one thread, and another one is left to ffmpeg, which has one as well: for
every contender alike. Few steps and a better preset, or to encode would take no time beside such slow steps. Eight
clips, since the last one has nothing to overlap with, and a worker's queue seldom has a last one.
"""


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str


def main() -> None:
    options = _read_options()
    device = pick_device("auto")
    if device == "cpu":
        # As a GPU does, it leaves the other cores to the encoder: see SMALL.
        torch.set_num_threads(1)
    is_full = options.size == "full" or (options.size == "auto" and device != "cpu")
    with tempfile.TemporaryDirectory() as folder:
        spec = wan_spec(save_wan(Path(folder, "wan"), is_full=is_full, device=device), is_full=is_full)
        report = {"machine": _machine(device), "model": "full" if is_full else "small"}
        figures: list[Figure] = []
        for figure in _measure(spec, FULL if is_full else SMALL, device, Path(folder), options.rounds):
            print(f"{figure.name:<58} {figure.value:>9.3f} {figure.unit}", flush=True)
            figures.append(figure)
            # After each: a machine that is lent by the minute may be gone before the last.
            document = report | {"figures": [asdict(figure) for figure in figures]}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _measure(spec: ModelSpec, plan: Plan, device: str, folder: Path, rounds: int) -> Iterator[Figure]:
    settings = EngineSettings(preview_interval_s=1)
    engines = EngineRegistry(engine=settings, animatic=AnimaticSettings(), device=device)
    yield from _throughput(Service(engines, spec), BareLoop(spec, device), plan, folder, rounds)
    engines.close()
    engine = DiffusersEngine(device=device, settings=settings)
    for shape, count in plan.batches:
        yield _batching(engine, spec, plan, shape, count, rounds)
    yield from _stopping(engine, spec, plan)
    yield _peak(engine, spec, plan)
    engine.close()


def _throughput(service: Service, bare: BareLoop, plan: Plan, folder: Path, rounds: int) -> Iterator[Figure]:
    tools = MediaTools.from_settings(plan.encoding)
    clips = _clips(plan, plan.main)
    contenders: dict[str, Callable[[], None]] = {
        "diffusers, generate": lambda: bare.generate(clips),
        "service, generate": lambda: service.generate(clips),
        "diffusers, generate then encode": lambda: bare.generate_then_encode(clips, folder, tools),
        "service, generate and encode": lambda: service.generate_and_encode(clips, folder, tools),
    }
    service.generate(clips[:1])
    bare.generate(clips[:1])
    times = _take_turns(contenders, rounds)
    for name, taken in times.items():
        yield Figure(f"{name} ({plan.main}, {plan.steps} steps)", plan.clips / statistics.median(taken), "clips/s")
    bare_s, service_s, naive_s, overlapped_s = times.values()
    yield Figure("service / diffusers, generate", _ratio(bare_s, service_s), "x")
    yield Figure("to encode, of a clip made in series", 1 - _ratio(bare_s, naive_s), "of its time")
    yield Figure("service with encode / diffusers without", _ratio(bare_s, overlapped_s), "x")
    yield Figure("service / diffusers, with encode", _ratio(naive_s, overlapped_s), "x")
    yield Figure("service / diffusers, generate, quickest rounds", min(bare_s) / min(service_s), "x")
    yield Figure("to encode, quickest rounds", 1 - min(bare_s) / min(naive_s), "of its time")
    yield Figure("service / diffusers, with encode, quickest rounds", min(naive_s) / min(overlapped_s), "x")


def _ratio(times_s: Sequence[float], others_s: Sequence[float]) -> float:
    """Of the speed of the others to that of the first: the median over the rounds, each compared with itself."""
    return statistics.median(one / other for one, other in zip(times_s, others_s, strict=True))


def _take_turns(contenders: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders)
        # There and back: whoever came always after the same neighbour would always have its warm caches, or its heat.
        for name in order if number % 2 == 0 else reversed(order):
            times[name].append(_seconds(contenders[name]))
    return times


def _batching(engine: DiffusersEngine, spec: ModelSpec, plan: Plan, shape: Shape, count: int, rounds: int) -> Figure:
    clips = [clip.model_copy(update={"seed": index}) for index, clip in enumerate(_clips(plan, shape, count))]
    contenders = {
        "alone": lambda: _render_alone(engine, spec, clips),
        "together": lambda: _render_batch(engine, spec, clips),
    }
    _take_turns(contenders, 1)
    times = _take_turns(contenders, rounds)
    return Figure(f"gain of a batch of {count} at {shape}", _ratio(times["alone"], times["together"]), "x")


def _render_alone(engine: DiffusersEngine, spec: ModelSpec, clips: Sequence[ResolvedClip]) -> None:
    for clip in clips:
        engine.render(ClipInputs(clip, spec), NullObserver())


def _render_batch(engine: DiffusersEngine, spec: ModelSpec, clips: Sequence[ResolvedClip]) -> None:
    requests = [RenderRequest(ClipInputs(clip, spec), NullObserver()) for clip in clips]
    engine.render_batch(requests)
    for request in requests:
        request.result()


def _stopping(engine: DiffusersEngine, spec: ModelSpec, plan: Plan) -> Iterator[Figure]:
    """From the stop, at a random moment of the steps, to the end of the render."""
    clip = _clips(plan, plan.main, 1)[0]
    whole_s = _seconds(lambda: engine.render(ClipInputs(clip, spec), NullObserver()))
    moments = random.Random(1)
    latencies_s: list[float] = []
    while len(latencies_s) < plan.stops:
        latency_s = _stop_after(engine, ClipInputs(clip, spec), moments.uniform(0.05, 0.5) * whole_s)
        if latency_s is not None:
            latencies_s.append(latency_s)
    yield Figure("stop to end of render, median", 1000 * statistics.median(latencies_s), "ms")
    yield Figure("stop to end of render, longest", 1000 * max(latencies_s), "ms")


def _stop_after(engine: DiffusersEngine, inputs: ClipInputs, delay_s: float) -> float | None:
    asked_s: list[float] = []
    observer = NullObserver()

    def stop() -> None:
        asked_s.append(time.perf_counter())
        observer.stop.stop(StopReason.CANCEL)

    timer = threading.Timer(delay_s, stop)
    timer.start()
    try:
        engine.render(inputs, observer)
    except RenderStopped:
        return time.perf_counter() - asked_s[0]
    finally:
        timer.cancel()
    return None


def _clips(plan: Plan, shape: Shape, count: int | None = None) -> list[ResolvedClip]:
    return [
        ResolvedClip(
            index=index,
            prompt="a red balloon over a harbour at dawn",
            seed=index,
            steps=plan.steps,
            guidance_scale=5.0,
            fps=16,
            **asdict(shape),
        )
        for index in range(count or plan.clips)
    ]


def _seconds(run: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began_s


def _peak(engine: DiffusersEngine, spec: ModelSpec, plan: Plan) -> Figure:
    meter = open_meter(engine.device)
    if meter is None:
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Figure("peak memory of the process, both contenders in it", peak_kib / 2**20, "GiB")
    # The engine has measured shapes of its own since the start, and began the peak anew each time.
    meter.reset_peak()
    engine.render(ClipInputs(_clips(plan, plan.main, 1)[0], spec), NullObserver())
    return Figure(f"peak memory on the device, weights and a clip of {plan.main}", meter.peak_bytes() / 2**30, "GiB")


def _machine(device: str) -> dict[str, object]:
    name = platform.machine() if device == "cpu" else torch.cuda.get_device_name(device)
    return {
        "date": utc_now().date().isoformat(),
        "device": f"{device} ({name})",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules[__name__].__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["auto", "full", "small"], default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/gpu-benchmark.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
