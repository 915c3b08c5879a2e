"""What the engine costs and gains over diffusers alone, on full-size Wan 1.3B with random weights, or small on a CPU.

    python benchmarks/gpu/measure.py [--size auto|full|small] [--parts bits,generate,encode,...] [--clips N] [--steps N]
                                     [--rounds 3] [--budget-s 600] [--out build/gpu-benchmark.json]

Prints each figure as soon as it is measured, and writes all of them as JSON after each: a machine that is lent by the
minute may be gone before the last. When the budget is spent, the current part makes no further round, and the other
parts are left out. Contenders take turns in each round, so that a machine that slows down slows both; a ratio is the
median of the rounds, with the lowest and the highest behind it.
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from contenders import BareLoop, Service
from decodes import decode_peaks
from devices import measure_devices
from nvenc import measure_nvenc
from options import measure_options
from turns import Budget, Figure, Run, compare, measure
from wan import save_wan, wan_spec

from phoenix.catalog.model import ModelSpec
from phoenix.clock import utc_now
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.device import open_meter, pick_device
from phoenix.engine.host_memory import keep_freed_memory
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
    decodes: tuple[Shape, ...]
    """Clips whose decode is measured, without their steps."""


PARTS = ("bits", "generate", "encode", "decode", "batches", "stops", "peak", "nvenc", "options", "devices")

FULL = Plan(
    steps=20,
    clips=4,
    encoding=MediaSettings(),
    main=Shape(832, 480, 49),
    batches=((Shape(448, 256, 17), 2), (Shape(448, 256, 17), 4), (Shape(576, 320, 33), 2), (Shape(832, 480, 49), 2)),
    stops=10,
    decodes=(Shape(832, 480, 17), Shape(832, 480, 49), Shape(832, 480, 121)),
)
SMALL = Plan(
    steps=4,
    clips=8,
    encoding=MediaSettings(preset="medium", threads=1),
    main=Shape(256, 256, 17),
    batches=((Shape(64, 64, 9), 2), (Shape(64, 64, 9), 4), (Shape(128, 128, 17), 2), (Shape(256, 256, 17), 2)),
    stops=10,
    decodes=(Shape(96, 96, 17), Shape(96, 96, 49), Shape(96, 96, 121)),
)
"""One core plays the device, since torch has one thread, and another one is left to ffmpeg, which has one as well: for
every contender alike. Few steps and a better preset, or to encode would take no time beside such slow steps. Eight
clips, since the last one has nothing to overlap with, and a worker's queue seldom has a last one.
"""


def main() -> None:
    options = _read_options()
    device = pick_device("auto")
    if device == "cpu":
        # As a GPU does, it leaves the other cores to the encoder: see SMALL.
        torch.set_num_threads(1)
        # As a worker does; both contenders gain by it. With MALLOC_ARENA_MAX in the environment, neither does.
        print(f"freed memory is kept: {'yes' if keep_freed_memory() else 'no'}", flush=True)
    is_full = options.size == "full" or (options.size == "auto" and device != "cpu")
    plan = _plan(options, FULL if is_full else SMALL)
    budget, figures = Budget(options.budget_s), list[Figure]()
    with tempfile.TemporaryDirectory() as folder:
        spec = wan_spec(save_wan(Path(folder, "wan"), is_full=is_full, device=device), is_full=is_full)
        report = {"machine": _machine(device), "model": "full" if is_full else "small"}
        subject = Subject(spec, plan, device, Path(folder), options.rounds, budget)
        for figure in _measure(subject, options.parts):
            print(figure, flush=True)
            figures.append(figure)
            document = report | {"figures": [asdict(figure) for figure in figures]}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Subject:
    """What every part measures, and how long it may."""

    spec: ModelSpec
    plan: Plan
    device: str
    folder: Path
    rounds: int
    budget: Budget

    def clips(self, shape: Shape | None = None, count: int | None = None) -> list[ResolvedClip]:
        return _clips(self.plan, shape or self.plan.main, count)

    def compare(self, name: str, base: Run, ours: Run) -> Iterator[Figure]:
        is_cpu = self.device == "cpu"
        return compare(name, base, ours, rounds=self.rounds, budget=self.budget, is_cpu=is_cpu)


def _measure(subject: Subject, parts: Sequence[str]) -> Iterator[Figure]:
    settings = EngineSettings(preview_interval_s=1)
    engines = EngineRegistry(engine=settings, animatic=AnimaticSettings(), device=subject.device)
    service, bare = Service(engines, subject.spec), BareLoop(subject.spec, subject.device)
    against_diffusers: dict[str, Callable[[], Iterator[Figure]]] = {
        "bits": lambda: _bits(service, bare, subject),
        "generate": lambda: _generating(service, bare, subject),
        "encode": lambda: _encoding(service, bare, subject),
    }
    for name in (name for name in against_diffusers if name in parts):
        yield from _within(subject.budget, name, against_diffusers[name])
    engines.close()
    engine = DiffusersEngine(device=subject.device, settings=settings)
    alone: dict[str, Callable[[], Iterator[Figure]]] = {
        "decode": lambda: _decodes(subject),
        "batches": lambda: _batches(engine, subject),
        "stops": lambda: _stopping(engine, subject.spec, subject.plan),
        "peak": lambda: iter([_peak(engine, subject.spec, subject.plan)]),
    }
    for name in (name for name in alone if name in parts):
        yield from _within(subject.budget, name, alone[name])
    engine.close()
    # Each of them loads the model anew, and some compile it.
    beside: dict[str, Callable[[], Iterator[Figure]]] = {
        "nvenc": lambda: _nvenc(subject),
        "options": lambda: _options(subject),
        "devices": lambda: _several_devices(subject),
    }
    for name in (name for name in beside if name in parts):
        yield from _within(subject.budget, name, beside[name])


def _within(budget: Budget, name: str, part: Callable[[], Iterator[Figure]]) -> Iterator[Figure]:
    if budget.is_spent:
        print(f"{name} was left out: the budget is spent", flush=True)
        return
    yield from part()


def _bits(service: Service, bare: BareLoop, subject: Subject) -> Iterator[Figure]:
    """Also warms both contenders up."""
    clip = subject.clips()[0]
    made = b"".join(service.render(clip).frames)
    expected = bare.render(clip).tobytes()
    differing = sum(one != other for one, other in zip(made, expected, strict=True))
    yield Figure(f"values of a clip of {subject.plan.main} that differ from diffusers", differing, f"of {len(made)}")


def _generating(service: Service, bare: BareLoop, subject: Subject) -> Iterator[Figure]:
    clips = subject.clips()
    service.generate(clips[:1])
    bare.generate(clips[:1])
    yield from subject.compare(
        "service / diffusers, generate", lambda: bare.generate(clips), lambda: service.generate(clips)
    )


def _encoding(service: Service, bare: BareLoop, subject: Subject) -> Iterator[Figure]:
    clips, folder = subject.clips(), subject.folder
    tools = MediaTools.from_settings(subject.plan.encoding)
    service.generate(clips[:1])
    bare.generate(clips[:1])
    for count in (len(clips), 1):
        some = clips[:count]
        yield from subject.compare(
            f"service / diffusers, generate then encode, {count} in a row",
            lambda some=some: bare.generate_then_encode(some, folder, tools),
            lambda some=some: service.generate_and_encode(some, folder, tools),
        )


def _nvenc(subject: Subject) -> Iterator[Figure]:
    clip, encoding = subject.clips(count=1)[0], subject.plan.encoding
    return measure_nvenc(clip, encoding, subject.folder, subject.device, subject.compare)


def _options(subject: Subject) -> Iterator[Figure]:
    """The contenders of the earlier parts hold weights: run this part alone to see what a small card would do."""
    clip = subject.clips(count=1)[0]
    return measure_options(subject.spec, clip, subject.device, budget=subject.budget, compare=subject.compare)


def _several_devices(subject: Subject) -> Iterator[Figure]:
    clip = subject.clips(count=1)[0]
    return measure_devices(subject.spec, clip, subject.device, budget=subject.budget, compare=subject.compare)


def _decodes(subject: Subject) -> Iterator[Figure]:
    clips = [clip for shape in subject.plan.decodes for clip in subject.clips(shape, 1)]
    return decode_peaks(subject.spec, clips, subject.device)


def _batches(engine: DiffusersEngine, subject: Subject) -> Iterator[Figure]:
    for shape, count in subject.plan.batches:
        if not subject.budget.is_spent:
            yield from _batching(engine, subject, shape, count)


def _batching(engine: DiffusersEngine, subject: Subject, shape: Shape, count: int) -> Iterator[Figure]:
    clips = [clip.model_copy(update={"seed": index}) for index, clip in enumerate(subject.clips(shape, count))]
    spec = subject.spec
    _render_batch(engine, spec, clips)
    yield from subject.compare(
        f"gain of a batch of {count} at {shape}",
        lambda: _render_alone(engine, spec, clips),
        lambda: _render_batch(engine, spec, clips),
    )


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
    whole_s = measure(lambda: engine.render(ClipInputs(clip, spec), NullObserver())).wall_s
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
    parser.add_argument("--parts", type=_parts, default=PARTS, help=f"some of: {','.join(PARTS)}")
    parser.add_argument("--clips", type=int, help="clips in a row")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--frames", type=int, help="frames of the clips in a row: 4k + 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget-s", type=float, help="no new round begins after this time")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-benchmark.json"))
    return parser.parse_args()


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(sorted(unknown))}")
    return names


def _plan(options: argparse.Namespace, plan: Plan) -> Plan:
    main = replace(plan.main, num_frames=options.frames or plan.main.num_frames)
    return replace(plan, main=main, clips=options.clips or plan.clips, steps=options.steps or plan.steps)


if __name__ == "__main__":
    main()
