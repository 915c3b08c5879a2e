"""Whether clips should join a call that is under way, at its next step, or wait for the next call as they do now.

    python benchmarks/gpu/joining.py [--size auto|full|small]

Measures what a step and a decode cost by the number of clips on this device, and then plays both ways with these costs
over the same arrivals: a day of clips in a second, and no noise but that of the costs.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import FULL, SMALL, Shape
from wan import save_wan, wan_spec

from phoenix.engine.backends.diffusers.loading import load_pipeline
from phoenix.engine.device import pick_device
from phoenix.engine.stop_token import StopToken

MOST = 4
"""Clips in one call."""
WINDOW_S = 0.03
TOKENS = 64
"""Of a prompt."""
CLIPS = 2000


@dataclass(frozen=True)
class Costs:
    """Of one shape, in seconds; `step_s[n - 1]` is of a step of n clips."""

    step_s: tuple[float, ...]
    decode_s: float

    def alone_s(self, steps: float) -> float:
        return steps * self.step_s[0] + self.decode_s


@dataclass
class Clip:
    arrived_s: float
    steps: int
    finished_s: float = 0.0


Way = Callable[[Sequence[Clip], Costs], None]
"""Fills in when each clip is finished; they come in the order of their arrival."""


def by_window(clips: Sequence[Clip], costs: Costs) -> None:
    """As `engine.gathering` does: those with the same steps that wait for the device go together, and end together."""
    waiting, now_s = deque(clips), 0.0
    while waiting:
        first = waiting[0]
        now_s = max(now_s, first.arrived_s + WINDOW_S)
        batch = [clip for clip in waiting if clip.arrived_s <= now_s and clip.steps == first.steps][:MOST]
        now_s += first.steps * costs.step_s[len(batch) - 1] + len(batch) * costs.decode_s
        for clip in batch:
            clip.finished_s = now_s
            waiting.remove(clip)


def by_step(clips: Sequence[Clip], costs: Costs) -> None:
    """Each joins at the next step, whatever its own number of steps, and is decoded as soon as it has made them."""
    waiting, now_s = deque(clips), 0.0
    running: list[tuple[Clip, int]] = []
    while waiting or running:
        if not running:
            now_s = max(now_s, waiting[0].arrived_s)
        while waiting and len(running) < MOST and waiting[0].arrived_s <= now_s:
            clip = waiting.popleft()
            running.append((clip, clip.steps))
        now_s += costs.step_s[len(running) - 1]
        running = [(clip, left - 1) for clip, left in running]
        for clip, left in running:
            if left == 0:
                now_s += costs.decode_s
                clip.finished_s = now_s
        running = [(clip, left) for clip, left in running if left]


def arrivals(costs: Costs, steps: Sequence[int], load: float) -> list[Clip]:
    """At random, `load` times as many as the device makes one by one."""
    draw = random.Random(1)
    gap_s = costs.alone_s(statistics.mean(steps)) / load
    clips, now_s = list[Clip](), 0.0
    for _ in range(CLIPS):
        now_s += draw.expovariate(1 / gap_s)
        clips.append(Clip(now_s, draw.choice(steps)))
    return clips


def main() -> None:
    options = _read_options()
    device = pick_device("auto")
    if device == "cpu":
        torch.set_num_threads(1)
    is_full = options.size == "full" or (options.size == "auto" and device != "cpu")
    plan = FULL if is_full else SMALL
    with tempfile.TemporaryDirectory() as folder:
        spec = wan_spec(save_wan(Path(folder), is_full=is_full, device=device), is_full=is_full)
        pipeline = load_pipeline(spec, device=device, stop=StopToken()).pipeline
        for shape in dict.fromkeys(shape for shape, _ in plan.batches):
            _compare(shape, _measure(pipeline, shape))


def _compare(shape: Shape, costs: Costs) -> None:
    per_clip = ", ".join(f"{cost / (n + 1) / costs.step_s[0]:.2f}" for n, cost in enumerate(costs.step_s))
    print(f"{shape}: step {costs.step_s[0]:.4f} s, per clip of 1 to {MOST}: {per_clip}; decode {costs.decode_s:.4f} s")
    for name, steps in (("20 steps", (20,)), ("10 to 50 steps", (10, 20, 30, 50))):
        for load in (0.5, 0.9, 2.0):
            window, step = (_latencies(way, costs, steps, load) for way in (by_window, by_step))
            print(f"  {name}, load {load}: " + ", ".join(_beside(*pair) for pair in zip(window, step, strict=True)))


def _latencies(way: Way, costs: Costs, steps: Sequence[int], load: float) -> tuple[float, float, float]:
    """Mean and 95th percentile of the time from arrival to end, and of one clip beside all: in clips made alone."""
    clips = arrivals(costs, steps, load)
    way(clips, costs)
    alone_s = costs.alone_s(statistics.mean(steps))
    waits = [(clip.finished_s - clip.arrived_s) / alone_s for clip in clips]
    elapsed_s = max(clip.finished_s for clip in clips) - clips[0].arrived_s
    return statistics.mean(waits), statistics.quantiles(waits, n=20)[-1], alone_s * CLIPS / elapsed_s


def _beside(window: float, step: float) -> str:
    return f"{window:.2f} | {step:.2f}"


def _measure(pipeline: Any, shape: Shape, rounds: int = 9) -> Costs:
    """Medians; the numbers of clips take turns, so that a machine that slows down slows all of them."""
    with torch.inference_mode():
        runs = [_stepper(pipeline, shape, count) for count in range(1, MOST + 1)]
        runs.append(_decoder(pipeline, shape))
        times: list[list[float]] = [[] for _ in runs]
        for _ in range(rounds):
            for taken, run in zip(times, runs, strict=True):
                taken.append(_seconds(run))
    medians = [statistics.median(taken[1:]) for taken in times]
    return Costs(tuple(medians[:-1]), medians[-1])


def _stepper(pipeline: Any, shape: Shape, count: int) -> Callable[[], object]:
    """A step with guidance: two passes, as the pipeline makes them."""
    denoiser = pipeline.transformer
    text = torch.randn((count, TOKENS, denoiser.config.text_dim), device=denoiser.device, dtype=denoiser.dtype)
    latents = _latents(pipeline, shape, count).to(denoiser.dtype)
    timestep = torch.full((count,), 500, device=denoiser.device)

    def step() -> None:
        for _ in range(2):
            denoiser(hidden_states=latents, timestep=timestep, encoder_hidden_states=text)

    return step


def _decoder(pipeline: Any, shape: Shape) -> Callable[[], object]:
    latents = _latents(pipeline, shape, 1).to(pipeline.vae.dtype)
    return lambda: pipeline.vae.decode(latents)


def _latents(pipeline: Any, shape: Shape, count: int) -> torch.Tensor:
    side_px, frames = (
        pipeline.vae_scale_factor_spatial,
        (shape.num_frames - 1) // pipeline.vae_scale_factor_temporal + 1,
    )
    channels = pipeline.transformer.config.in_channels
    size = (count, channels, frames, shape.height // side_px, shape.width // side_px)
    return torch.randn(size, device=pipeline.transformer.device)


def _seconds(run: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began_s


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules[__name__].__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["auto", "full", "small"], default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
