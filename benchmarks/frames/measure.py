"""Frames on demand, compared with the model in a bare loop and with the server of the seed document.

    python benchmarks/frames/measure.py [--width 32] [--seconds 4] [--rounds 3] [--quick]
        [--only seed,sessions,half,kill,memory]

The model has the shape of Wav2Lip and random weights. All contenders of a part take turns within each round: on a busy
machine, only the ratios mean something. CPU time is of the server and its children. Prints one JSON object.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from lip_shape import write_models
from servers import BOX, METHOD, PORT, RATE_HZ, settings_of, write_face

from phoenix.catalog.catalog import load_catalog
from phoenix.frames.live_sound import HeardMoment
from phoenix.frames.renderer import BatchRenderer, RendererOptions
from phoenix.frames.service import FrameService, ImageFormat
from phoenix.frames.sessions import make_request

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures import child_processes

_SERVERS = Path(__file__).with_name("servers.py")
_SOUND = (np.random.default_rng(1).normal(0, 0.2, 3_600) * 32767).clip(-32768, 32767).astype("<i2").tobytes()


@dataclass(frozen=True)
class Contender:
    """One server: which kind, with which options."""

    name: str
    kind: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What the clients of one server saw, and what it used."""

    frames: int
    elapsed_s: float
    cpu_s: float
    latencies_s: list[float]

    def figures(self) -> dict[str, float]:
        ordered = sorted(self.latencies_s)
        quantiles = {
            f"p{share}_ms": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] * 1e3 for share in (50, 95, 99)
        }
        return {"frames_per_s": self.frames / self.elapsed_s, "frames_per_cpu_s": self.frames / self.cpu_s, **quantiles}


def cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


@contextmanager
def running(contender: Contender) -> Iterator[tuple[int, int]]:
    """The server in a process of its own, and its port."""
    server = child_processes.start(
        [sys.executable, str(_SERVERS), contender.kind, json.dumps(contender.options)], stdin=-1, stdout=-1, text=True
    )
    try:
        lines = (line for line in server.stdout if line.startswith(PORT))
        yield server.pid, int(next(lines).removeprefix(PORT))
    finally:
        server.stdin.close()
        server.wait()


async def load(port: int, *, clients: int, seconds: float, requests: int | None = None) -> tuple[float, list[float]]:
    """Each client asks for its next frame when it has the last one."""
    latencies: list[float] = []
    left = [requests if requests is not None else 1 << 60]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)
        began = time.perf_counter()

        async def client() -> None:
            while left[0] > 0 and time.perf_counter() - began < seconds:
                left[0] -= 1
                asked = time.perf_counter()
                await call(_SOUND)
                latencies.append(time.perf_counter() - asked)

        await asyncio.gather(*(client() for _ in range(clients)))
        return time.perf_counter() - began, latencies


def ask(contender: Contender, *, clients: int, seconds: float, requests: int | None = None) -> Run:
    with running(contender) as (pid, port):
        asyncio.run(load(port, clients=clients, seconds=min(1.0, seconds)))
        before = cpu_s(pid)
        elapsed, latencies = asyncio.run(load(port, clients=clients, seconds=seconds, requests=requests))
        return Run(len(latencies), elapsed, cpu_s(pid) - before, latencies)


def bare_loop(options: dict[str, Any], batch: int, seconds: float, *, whole: bool) -> Run:
    """The model alone in batches; with `whole`, all that becomes of a frame: features, model, paste and JPEG."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import measure; "
        "print(json.dumps(measure.loop(*json.loads(sys.argv[2]))))"
    )
    arguments = json.dumps([options, batch, seconds, whole])
    done = child_processes.run(
        [sys.executable, "-c", code, str(_SERVERS.parent), arguments], check=True, capture_output=True, text=True
    )
    frames, elapsed, cpu = json.loads(done.stdout.splitlines()[-1])
    return Run(frames, elapsed, cpu, [elapsed / frames * batch])


def loop(options: dict[str, Any], batch: int, seconds: float, whole: bool) -> tuple[int, float, float]:
    """In the process of its own that `bare_loop` starts."""
    return asyncio.run(_loop(options, batch, seconds, whole))


async def _loop(options: dict[str, Any], batch: int, seconds: float, whole: bool) -> tuple[int, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with FrameService(settings_of(options | {"processes": 0})) as service:
            video = await service.register_video(write_face(Path(folder)), box=BOX, model=None)
            spec = service.get_model(video.model)
            renderer = BatchRenderer(RendererOptions(service.videos_folder, "cpu", options["threads"], 90))
            renderer.load(spec)
            request = make_request(video, 0, HeardMoment(_SOUND, 0, 0.1), ImageFormat.JPEG)
            call = (
                (lambda: renderer.render(video.model, [request] * batch)) if whole else model_call(spec, options, batch)
            )
            for _ in range(3):
                call()
            began, before, frames = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - began < seconds:
                call()
                frames += batch
            return frames, time.perf_counter() - began, time.process_time() - before


def model_call(spec: Any, options: dict[str, Any], batch: int) -> Callable[[], Any]:
    """Calls the library of the model, and nothing of Phoenix."""
    mel, faces = (
        np.zeros((batch, 1, 80, 16), np.float32),
        np.random.default_rng(0).random((batch, 6, 96, 96), np.float32),
    )
    given = {"mel_spectrogram": mel, "video_frames": faces}
    if spec.format == "onnx":
        import onnxruntime  # noqa: PLC0415

        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = options["threads"]
        session = onnxruntime.InferenceSession(spec.source, chosen, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, given)
    import torch  # noqa: PLC0415

    torch.set_num_threads(options["threads"])
    module = torch.jit.load(spec.source)
    tensors = [torch.from_numpy(each) for each in given.values()]

    def call() -> Any:
        with torch.inference_mode():
            return module(*tensors)

    return call


def median_figures(runs: Sequence[Run]) -> dict[str, float]:
    each = [run.figures() for run in runs]
    return {name: round(statistics.median(figures[name] for figures in each), 2) for name in each[0]}


def compare_with_the_seed(catalog: Path, args: argparse.Namespace) -> dict[str, Any]:
    """16 clients, and the 20 requests of the seed document, 10 at a time."""
    script, onnx = ({"catalog": str(catalog), "model": f"wav2lip-{kind}", "batch": 8} for kind in ("script", "onnx"))
    two = {"processes": 2, "threads": 1, "window_ms": args.window_ms}
    contenders = [
        Contender("seed, TorchScript, its own threads", "seed", script),
        Contender("seed, TorchScript, 1 thread", "seed", script | {"threads": 1}),
        Contender("Phoenix, TorchScript, 1 process", "phoenix", script | two | {"processes": 1}),
        Contender("Phoenix, TorchScript, 2 processes", "phoenix", script | two),
        Contender("seed, ONNX, 1 thread", "seed", onnx | {"threads": 1}),
        Contender("Phoenix, ONNX, 1 process", "phoenix", onnx | two | {"processes": 1}),
        Contender("Phoenix, ONNX, 2 processes", "phoenix", onnx | two),
    ]
    loops = [
        (f"bare loop, {name}, batch of {batch}, {what}", options | {"threads": 1}, batch, whole)
        for name, options in (("TorchScript", script), ("ONNX", onnx))
        for batch in (1, 8)
        for what, whole in (("model alone", False), ("whole frame", True))
    ]
    if args.quick:
        contenders = [
            each for each in contenders if each.name.endswith(("own threads", "2 processes", "ONNX, 1 thread"))
        ]
        loops = [each for each in loops if each[2] == 8]
    runs: dict[str, list[Run]] = {}
    twenty: dict[str, list[Run]] = {}
    for _ in range(args.rounds):
        for each in contenders:
            runs.setdefault(each.name, []).append(ask(each, clients=16, seconds=args.seconds))
            twenty.setdefault(each.name, []).append(ask(each, clients=10, seconds=60, requests=20))
            print(each.name, runs[each.name][-1].figures(), file=sys.stderr)
        for name, options, batch, whole in loops:
            runs.setdefault(name, []).append(bare_loop(options, batch, args.seconds, whole=whole))
            print(name, runs[name][-1].figures(), file=sys.stderr)
    return {
        "16 clients": {name: median_figures(found) for name, found in runs.items()},
        "20 requests, 10 at a time, ms in all": {
            name: round(statistics.median(run.elapsed_s for run in found) * 1e3) for name, found in twenty.items()
        },
    }


async def run_sessions(catalog: Path, args: argparse.Namespace, count: int) -> dict[str, float]:
    """Sessions that speak in real time: 40 ms of sound every 40 ms. Timed from the sound that a frame needs to it."""
    options = {"catalog": str(catalog), "model": "wav2lip-onnx", "batch": 8, "processes": 2, "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        async with FrameService(settings_of(options | {"window_ms": args.window_ms})) as service:
            video = await service.register_video(write_face(Path(folder)), box=BOX, model=None)
            late: list[float] = []
            began = time.perf_counter() + 0.2
            ticks = round(args.seconds * 25)

            async def speak(number: int) -> None:
                session = service.open_session(
                    video.video_id, sample_rate=RATE_HZ, format=ImageFormat.JPEG, max_buffered_s=60
                )
                pushed: list[float] = []

                async def push() -> None:
                    for tick in range(ticks):
                        at = began + tick / 25 + number / count / 25
                        await asyncio.sleep(max(0, at - time.perf_counter()))
                        pushed.append(time.perf_counter())
                        await session.push_audio(_SOUND[:1280])
                    await session.end_audio()

                pushing = asyncio.create_task(push())
                async for frame in session.frames():
                    # 0.2125 s after its beginning, a frame has been heard; those at the end wait for the end.
                    needed = min(ticks - 1, frame.index + 5)
                    late.append(time.perf_counter() - pushed[needed])
                await pushing

            before = cpu_s(psutil.Process().pid)
            await asyncio.gather(*(speak(number) for number in range(count)))
            elapsed = time.perf_counter() - began
            return Run(len(late), elapsed, cpu_s(psutil.Process().pid) - before, late).figures()


async def ask_at_half_load(catalog: Path, args: argparse.Namespace) -> dict[str, float]:
    """Requests at random times, half as many as one process can answer. The call of the model: a batch of 8, alone."""
    options = {"catalog": str(catalog), "model": "wav2lip-script", "batch": 8, "processes": 1, "threads": 1}
    alone = bare_loop(options, 8, args.seconds, whole=True)
    call_s = 8 * alone.elapsed_s / alone.frames
    rate_hz = alone.frames / alone.elapsed_s / 2
    with tempfile.TemporaryDirectory() as folder:
        async with FrameService(settings_of(options | {"window_ms": args.window_ms})) as service:
            video = await service.register_video(write_face(Path(folder)), box=BOX, model=None)
            latencies: list[float] = []

            async def make() -> None:
                asked = time.perf_counter()
                await service.render_frame(video.video_id, 0, _SOUND, sample_rate=RATE_HZ, format=ImageFormat.JPEG)
                latencies.append(time.perf_counter() - asked)

            waits = np.random.default_rng(0).exponential(1 / rate_hz, round(4 * args.seconds * rate_hz))
            due = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for wait in waits:
                    due += wait
                    await asyncio.sleep(max(0, due - time.perf_counter()))
                    group.create_task(make())
    ordered = sorted(latencies)
    p99_s = ordered[len(ordered) * 99 // 100]
    return {
        "call_ms": round(call_s * 1e3, 1),
        "requests_per_s": round(rate_hz, 1),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 1),
        "p99_ms": round(p99_s * 1e3, 1),
        "calls_in_p99_without_the_window": round((p99_s - args.window_ms / 1e3) / call_s, 2),
    }


async def kill_one(catalog: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Kills one of two processes again and again, while 16 clients ask. Every request must be answered."""
    options = {"catalog": str(catalog), "model": "wav2lip-onnx", "batch": 8, "processes": 2, "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        async with FrameService(settings_of(options | {"window_ms": args.window_ms})) as service:
            video = await service.register_video(write_face(Path(folder)), box=BOX, model=None)
            latencies: list[tuple[float, float]] = []
            kills: list[float] = []
            end = time.perf_counter() + 4 * args.seconds

            async def client() -> None:
                while time.perf_counter() < end:
                    asked = time.perf_counter()
                    await service.render_frame(video.video_id, 0, _SOUND, sample_rate=RATE_HZ, format=ImageFormat.JPEG)
                    latencies.append((asked, time.perf_counter() - asked))

            async def kill() -> None:
                while time.perf_counter() < end - args.seconds:
                    await asyncio.sleep(args.seconds)
                    alive = [engine.pid for engine in service.health().engines if engine.pid]
                    if len(alive) == 2:
                        kills.append(time.perf_counter())
                        psutil.Process(alive[0]).kill()

            await asyncio.gather(kill(), *(client() for _ in range(16)))
    around = [took for asked, took in latencies if any(asked <= at <= asked + took for at in kills)]
    others = [took for asked, took in latencies if not any(asked <= at <= asked + took + 1 for at in kills)]
    return {
        "kills": len(kills),
        "frames": len(latencies),
        "slowest_during_a_kill_ms": round(max(around, default=0) * 1e3),
        "p50_otherwise_ms": round(statistics.median(others) * 1e3),
    }


async def watch_memory(catalog: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The memory of the service and its engine after each thousand of 10,000 frames."""
    options = {"catalog": str(catalog), "model": "wav2lip-onnx", "batch": 8, "processes": 1, "threads": 1}
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with FrameService(settings_of(options | {"window_ms": 0})) as service:
            video = await service.register_video(write_face(Path(folder)), box=BOX, model=None)
            session = service.open_session(
                video.video_id, sample_rate=RATE_HZ, format=ImageFormat.JPEG, max_buffered_s=2
            )

            async def push() -> None:
                for _ in range(10_000):
                    await session.push_audio(_SOUND[:1280])
                await session.end_audio()

            pushing = asyncio.create_task(push())
            found += [round(private_mb(), 1) async for frame in session.frames() if frame.index % 1000 == 999]
            await pushing
    return {"private_mb_after_each_1000": found, "grown_mb": round(found[-1] - found[0], 1), "rounds": args.rounds}


def private_mb() -> float:
    process = psutil.Process()
    return sum(each.memory_full_info().uss for each in [process, *process.children(recursive=True)]) / 1e6


PARTS = {
    "seed": compare_with_the_seed,
    "sessions": lambda catalog, args: {
        f"{count} sessions": {
            name: round(value, 2) for name, value in asyncio.run(run_sessions(catalog, args, count)).items()
        }
        for count in (1, 4, 16, 64)
    },
    "half": lambda catalog, args: asyncio.run(ask_at_half_load(catalog, args)),
    "kill": lambda catalog, args: asyncio.run(kill_one(catalog, args)),
    "memory": lambda catalog, args: asyncio.run(watch_memory(catalog, args)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="with fewer contenders")
    parser.add_argument("--window-ms", type=float, default=10)
    parser.add_argument("--only", default=",".join(PARTS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        catalog = write_models(Path(folder), args.width)
        assert load_catalog(catalog).lip_models
        figures = {name: PARTS[name](catalog, args) for name in args.only.split(",")}
    load_1, *_ = psutil.getloadavg()
    print(json.dumps({"width": args.width, "window_ms": args.window_ms, "load": load_1, **figures}, indent=2))


if __name__ == "__main__":
    main()
