"""`phoenix bench --arrangements frames`: how fast this machine makes frames on demand, in each arrangement."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from rich.table import Table

from phoenix.cli.bench.arrangements import Arrangement, list_arrangements
from phoenix.cli.bench.report import quantile
from phoenix.cli.console import format_bytes, printable, read_settings
from phoenix.contract import View
from phoenix.engine.device import pick_device
from phoenix.errors import PhoenixError
from phoenix.frames.service import FaceBox, FrameService, ImageFormat
from phoenix.settings import Settings

_SIDE_PX = 512
_BOX = FaceBox(128, 128, 256, 256)
_RATE_HZ, _SOUND_S = 16_000, 0.25
_FRAMES_PER_CLIP = 25
_MEMORY_FILE = "/proc/{pid}/smaps_rollup"


class FrameArrangement(View):
    """What the clients of one arrangement saw. `latency`: from the request for a frame to the frame.

    `memory_bytes` is of its processes, where a page that several of them use is divided among them; None where the
    system does not say. Without frames, `failure` says why the arrangement cannot be used.
    """

    name: str
    devices: list[str]
    batch: int
    frames: int = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    frames_per_s: float | None = None
    memory_bytes: int | None = None
    failure: str | None = None


class FrameArrangements(View):
    """All arrangements of one lip model. `clients`: each of them asks for its next frame when it has the last."""

    model: str
    width: int
    height: int
    window_ms: float
    clients: int
    arrangements: list[FrameArrangement]


def compare_frames(
    *,
    device: str,
    processes: int,
    batch: int,
    clients: int,
    clips_per_client: int,
    show_status: Callable[[str], None],
) -> FrameArrangements:
    """Measures every arrangement, 25 frames for each of the clips of each client. Raises `NoSuchDevice`."""
    settings = read_settings()
    reports: list[FrameArrangement] = []
    for each in list_arrangements([pick_device(device)], processes=processes, batch=batch):
        show_status(each.name)
        try:
            reports.append(asyncio.run(_measure(each, settings, clients, clips_per_client * _FRAMES_PER_CLIP)))
        except PhoenixError as failure:
            devices = list(each.devices)
            reports.append(FrameArrangement(name=each.name, devices=devices, batch=each.batch, failure=failure.detail))
    return FrameArrangements(
        model=settings.lipsync.default_model,
        width=_SIDE_PX,
        height=_SIDE_PX,
        window_ms=settings.frames.window_ms,
        clients=clients,
        arrangements=reports,
    )


async def _measure(arrangement: Arrangement, settings: Settings, clients: int, frames_each: int) -> FrameArrangement:
    given = {"processes": len(arrangement.devices), "devices": arrangement.devices[:1], "batch": arrangement.batch}
    # No other frame could join a batch of one.
    given |= {"window_ms": 0} if arrangement.batch == 1 else {}
    arranged = settings.model_copy(update={"frames": settings.frames.model_copy(update=given)})
    latencies_s: list[float] = []
    with TemporaryDirectory(prefix="phoenix-bench-") as folder:
        async with FrameService(arranged) as service:
            video = await service.register_video(_write_face(Path(folder)), box=_BOX, model=None)

            async def make() -> None:
                asked_s = time.perf_counter()
                await service.render_frame(video.video_id, 0, _sound(), sample_rate=_RATE_HZ, format=ImageFormat.JPEG)
                latencies_s.append(time.perf_counter() - asked_s)

            async def ask(count: int) -> None:
                for _ in range(count):
                    await make()

            # The first calls take memory, and longer.
            await asyncio.gather(*(ask(2) for _ in range(clients)))
            latencies_s.clear()
            began_s = time.perf_counter()
            await asyncio.gather(*(ask(frames_each) for _ in range(clients)))
            elapsed_s = time.perf_counter() - began_s
            memory = _memory_of([engine.pid for engine in service.health().engines if engine.pid])
    return _report(arrangement, latencies_s, elapsed_s, memory)


def _report(
    arrangement: Arrangement, latencies_s: Sequence[float], elapsed_s: float, memory: int | None
) -> FrameArrangement:
    ordered = sorted(latency_s * 1000 for latency_s in latencies_s)
    return FrameArrangement(
        name=arrangement.name,
        devices=list(arrangement.devices),
        batch=arrangement.batch,
        frames=len(ordered),
        latency_p50_ms=quantile(ordered, 0.5),
        latency_p95_ms=quantile(ordered, 0.95),
        latency_p99_ms=quantile(ordered, 0.99),
        frames_per_s=len(ordered) / elapsed_s,
        memory_bytes=memory,
    )


def _write_face(folder: Path) -> Path:
    """A smooth picture, whose JPEG has as many bytes as a photo has."""
    small = np.random.default_rng(0).integers(60, 230, (_SIDE_PX // 16, _SIDE_PX // 16, 3), np.uint8)
    path = folder / "face.png"
    Image.fromarray(small).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC).save(path)
    return path


def _sound() -> bytes:
    """A vowel: silence would cost nothing."""
    times_s = np.arange(round(_RATE_HZ * _SOUND_S)) / _RATE_HZ
    return np.round(9_000 * np.sin(2 * np.pi * 300 * times_s)).astype("<i2").tobytes()


def _memory_of(pids: Sequence[int]) -> int | None:
    kilobytes = 0
    for pid in pids:
        try:
            lines = Path(_MEMORY_FILE.format(pid=pid)).read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024


def frame_lines(report: FrameArrangements) -> Iterator[str]:
    """Lines about all arrangements together."""
    shape = f"{report.width}x{report.height}, JPEG, window {report.window_ms:.0f} ms"
    yield f"{report.model}: {shape}; {report.clients} clients at a time"
    for each in report.arrangements:
        if each.failure is not None:
            yield f"  {each.name}: {printable(each.failure)}"


def frame_table(report: FrameArrangements) -> Table:
    """A line per arrangement, compared with the first one."""
    headings = ("arrangement", "processes", "batch", "p50 ms", "p95 ms", "p99 ms", "frames/s", "gain", "memory")
    table = Table(*headings, box=None, pad_edge=False)
    first = report.arrangements[0].frames_per_s
    for each in report.arrangements:
        latencies = [_number(value) for value in (each.latency_p50_ms, each.latency_p95_ms, each.latency_p99_ms)]
        gain = each.frames_per_s / first if each.frames_per_s and first else None
        memory = "-" if each.memory_bytes is None else format_bytes(each.memory_bytes)
        rate = "-" if each.frames_per_s is None else f"{each.frames_per_s:,.1f}"
        table.add_row(each.name, str(len(each.devices)), str(each.batch), *latencies, rate, _number(gain), memory)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
