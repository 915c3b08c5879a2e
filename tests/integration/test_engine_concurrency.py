"""Many clips, loads and stops at once on tiny pipelines of every family: nothing wrong, nothing left, nothing stuck."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fixtures.engine_clips import BATCH_TOLERANCE, furthest, pixels, tensors_alive
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip, stopping_at
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from fixtures.turnstile import BlockCounter, inner_blocks
from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import ClipInputs, NullObserver, RenderedClip
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import Stage
from phoenix.settings import AnimaticSettings, EngineSettings

FAMILIES = ("wan", "ltx", "cogvideox", "hunyuan")
PROMPTS = ("a cat walks on the grass", "scene 1: a lighthouse in a storm", "a red fox", "snow at dawn")
CLIPS = 12
"""Enough for three of each family, of both sizes and both lengths."""


@pytest.fixture
def models(tiny_pipelines: TinyPipelines, tmp_path: Path) -> list[ModelSpec]:
    return [tiny_spec(kind, tiny_pipelines(kind), tmp_path) for kind in FAMILIES]


def mixed_clips(models: list[ModelSpec]) -> list[ClipInputs]:
    """Every family, with differing prompts, steps, guidance, sizes and lengths."""
    return [
        ClipInputs(
            make_clip(
                prompt=PROMPTS[number % 3],
                negative_prompt="blurry" if number % 4 == 0 else "",
                seed=number,
                steps=2 + number % 2,
                guidance_scale=3.0 + number % 2,
                width=96 if number % 5 == 0 else 64,
                num_frames=17 if number % 11 == 0 else 9,
            ),
            models[number % len(models)],
        )
        for number in range(CLIPS)
    ]


def open_engines(**settings: Any) -> EngineRegistry:
    slots = DeviceSlots(settings.pop("slots", 1), wait_limit_s=60)
    return EngineRegistry(engine=EngineSettings(**settings), animatic=AnimaticSettings(), device="cpu", slots=slots)


def test_four_threads_with_12_mixed_clips_each_make_them_bit_identical_to_serial_ones(models):
    engine = OpenEngine()
    all_inputs = mixed_clips(models)
    serial = [digest(engine.render(inputs, NullObserver())) for inputs in all_inputs]

    def render_all(thread: int) -> list[str]:
        made: dict[int, str] = {}
        for number in random.Random(thread).sample(range(CLIPS), CLIPS):
            made[number] = digest(engine.render(all_inputs[number], NullObserver()))
        return [made[number] for number in range(CLIPS)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render_all, range(4))) == [serial] * 4
    assert len(set(serial)) == CLIPS
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_20_first_requests_at_once_cause_one_load(kind, tiny_pipelines, tmp_path):
    engine = OpenEngine()
    inputs = ClipInputs(make_clip(), tiny_spec(kind, tiny_pipelines(kind), tmp_path))
    barrier = threading.Barrier(20)

    def render(_number: int) -> str:
        barrier.wait(30)
        return digest(engine.render(inputs, NullObserver()))

    with ThreadPoolExecutor(20) as pool:
        clips = set(pool.map(render, range(20)))
    assert len(engine.loads) == 1
    assert len(clips) == 1
    engine.close()


MOMENTS = (Stage.LOAD, Stage.TEXT, Stage.DENOISE, 1, 2, Stage.DECODE)


class Interrupted(Recorder):
    """Is stopped when a stage begins or after a step; where it has no such moment, after a time, wherever it is then.

    In the queue, in a batch, in the middle of a load, a step or the decode.
    """

    def __init__(self, moment: Stage | int | None, after_s: float) -> None:
        super().__init__(lambda event: event == moment and self.stop.stop(StopReason.CANCEL))
        self.timer = threading.Timer(after_s, self.stop.stop, (StopReason.CANCEL,))
        if moment is None:
            self.timer.start()


@pytest.mark.parametrize(("max_batch_size", "memory_budget_bytes"), [(1, 1_200_000), (3, None)])
def test_200_stops_at_random_moments_leave_no_wrong_clip_no_tensor_and_no_slot(
    models, max_batch_size, memory_budget_bytes
):
    """The budget has no room for all four models, so that some are loaded again on the way."""
    room = {"memory_budget_bytes": memory_budget_bytes, "slots": 2}
    engines = open_engines(max_batch_size=max_batch_size, batch_window_s=0.005, preview_interval_s=0, **room)
    all_inputs = [ClipInputs(make_clip(steps=3), model) for model in models]
    right = [pixels(engines.render(inputs, NullObserver())) for inputs in all_inputs]
    clip_s = min(seconds_of(lambda: engines.render(all_inputs[-1], NullObserver())) for _ in range(3))
    wait_until_idle(engines)
    before = tensors_alive()
    moments, stopped_in = random.Random(max_batch_size), []
    # Many of a family in a row, so that clips that are under way at the same time can share a call.
    order = [number // 57 for number in range(225)]

    def render(number: int) -> RenderedClip | None:
        if number % 9 == 0:
            return engines.render(all_inputs[order[number]], NullObserver())
        moment = moments.choice(MOMENTS) if number % 2 else None
        recorder = Interrupted(moment, moments.uniform(0, 1.5 * clip_s))
        try:
            return engines.render(all_inputs[order[number]], recorder)
        except RenderStopped:
            stopped_in.append(recorder.stages[-1] if recorder.stages else None)
            return None
        finally:
            recorder.timer.cancel()

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(render, range(225)))
    assert len(stopped_in) >= 100
    assert set(stopped_in) >= {Stage.LOAD, Stage.TEXT, Stage.DENOISE, Stage.DECODE}
    errors = [furthest(pixels(clip), right[family]) for family, clip in zip(order, made, strict=True) if clip]
    assert len(errors) == 225 - len(stopped_in) >= 25
    assert max(errors) <= (BATCH_TOLERANCE if max_batch_size > 1 else 0)
    afterwards = [pixels(engines.render(inputs, NullObserver())) for inputs in all_inputs]
    assert max(map(furthest, afterwards, right)) == 0
    wait_until_idle(engines)
    assert tensors_alive() == before
    engines.close()


def seconds_of(render: Callable[[], object]) -> float:
    began_s = time.monotonic()
    render()
    return time.monotonic() - began_s


def wait_until_idle(engines: EngineRegistry) -> None:
    """A call ends in its own thread: after its clips are there, or at the next block once all of them have left."""
    for _ in range(60_000):
        if engines.is_idle:
            return
        threading.Event().wait(0.001)
    raise AssertionError("a slot is stuck")


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_clip_after_one_stopped_in_a_step_is_as_on_a_fresh_worker(kind, tiny_pipelines, tmp_path):
    used = OpenEngine()
    inputs = ClipInputs(make_clip(steps=3), tiny_spec(kind, tiny_pipelines(kind), tmp_path))
    recorder = stopping_at(2)
    with pytest.raises(RenderStopped):
        used.render(inputs, recorder)
    assert recorder.steps == [(1, 3), (2, 3)]
    assert_as_on_a_fresh_worker(used, inputs)


@pytest.mark.parametrize("kind", ["wan", "cogvideox"])
def test_a_clip_after_one_stopped_in_the_decode_is_as_on_a_fresh_worker(kind, tiny_pipelines, tmp_path):
    used, counters = OpenEngine(), []
    inputs = ClipInputs(make_clip(num_frames=17), tiny_spec(kind, tiny_pipelines(kind), tmp_path))

    def stop_in_the_decoder(event: Stage | int) -> None:
        if event is Stage.DECODE:
            counters.append(BlockCounter(inner_blocks(used.loads[0].pipeline.vae.decoder), recorder))
            counters[0].reset(stop_in=5)

    recorder = Recorder(stop_in_the_decoder)
    with pytest.raises(RenderStopped):
        used.render(inputs, recorder)
    assert counters[0].entered == 5
    counters[0].remove()
    assert_as_on_a_fresh_worker(used, inputs)


def assert_as_on_a_fresh_worker(used: OpenEngine, inputs: ClipInputs) -> None:
    fresh = OpenEngine()
    assert digest(used.render(inputs, NullObserver())) == digest(fresh.render(inputs, NullObserver()))
    fresh.close()
    used.close()
