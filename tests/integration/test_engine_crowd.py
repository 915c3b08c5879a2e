"""Many clips, loads and stops at once on tiny pipelines of every family: nothing wrong, nothing left, nothing stuck."""

import gc
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.engine_clips import BATCH_TOLERANCE, furthest, pixels
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.registry import Engines
from phoenix.engine.slots import DeviceSlots
from phoenix.engine.spec import ClipJob, RenderedClip, Unwatched
from phoenix.engine.stopping import RenderStopped, StopReason
from phoenix.settings import AnimaticSettings, EngineSettings

FAMILIES = ("wan", "ltx", "cogvideox", "hunyuan")
PROMPTS = ("a cat walks on the grass", "scene 1: a lighthouse in a storm", "a red fox", "snow at dawn")


@pytest.fixture
def models(tiny_pipelines: TinyPipelines, tmp_path: Path) -> list[ModelSpec]:
    return [tiny_spec(kind, tiny_pipelines(kind), tmp_path) for kind in FAMILIES]


def mixed_clips(models: list[ModelSpec]) -> list[ClipJob]:
    """48 of them: every family, with differing prompts, steps, guidance, sizes and lengths."""
    return [
        ClipJob(
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
        for number in range(48)
    ]


def open_engines(**settings: Any) -> Engines:
    slots = DeviceSlots(settings.pop("slots", 1), wait_limit_s=60)
    return Engines(engine=EngineSettings(**settings), animatic=AnimaticSettings(), device="cpu", slots=slots)


def test_four_threads_with_48_mixed_clips_each_make_them_bit_identical_to_serial_ones(models):
    engine = OpenEngine()
    jobs = mixed_clips(models)
    serial = [digest(engine.render(job, Unwatched())) for job in jobs]

    def render_all(thread: int) -> list[str]:
        made: dict[int, str] = {}
        for number in random.Random(thread).sample(range(48), 48):
            made[number] = digest(engine.render(jobs[number], Unwatched()))
        return [made[number] for number in range(48)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render_all, range(4))) == [serial] * 4
    assert len(set(serial)) == 48
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_20_first_requests_at_once_cause_one_load(kind, tiny_pipelines, tmp_path):
    engine = OpenEngine()
    job = ClipJob(make_clip(), tiny_spec(kind, tiny_pipelines(kind), tmp_path))
    barrier = threading.Barrier(20)

    def render(_number: int) -> str:
        barrier.wait(30)
        return digest(engine.render(job, Unwatched()))

    with ThreadPoolExecutor(20) as pool:
        clips = set(pool.map(render, range(20)))
    assert len(engine.loads) == 1
    assert len(clips) == 1
    engine.close()


def tensors_alive() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


class Interrupted(Recorder):
    """Is stopped after a time of its own, wherever it is then: in the queue, in a batch, a step or the decode."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self.timer = threading.Timer(after_s, self.stop.stop, (StopReason.CANCEL,))
        self.timer.start()


@pytest.mark.parametrize("max_batch", [1, 3])
def test_200_stops_at_random_moments_leave_no_wrong_clip_no_tensor_and_no_slot(models, max_batch):
    engines = open_engines(max_batch=max_batch, batch_window_s=0.005, preview_interval_s=0, slots=2)
    jobs = [ClipJob(make_clip(steps=3), model) for model in models]
    right = [pixels(engines.render(job, Unwatched())) for job in jobs]
    began_s = time.monotonic()
    engines.render(jobs[0], Unwatched())
    clip_s = time.monotonic() - began_s
    wait_until_idle(engines)
    before = tensors_alive()
    moments = random.Random(max_batch)
    # Eight of a family in a row, so that clips that are under way at the same time can share a call.
    order = [number // 8 % len(jobs) for number in range(225)]

    def render(number: int) -> RenderedClip | None:
        if number % 9 == 0:
            return engines.render(jobs[order[number]], Unwatched())
        recorder = Interrupted(moments.uniform(0, 1.5 * clip_s))
        try:
            return engines.render(jobs[order[number]], recorder)
        except RenderStopped:
            return None
        finally:
            recorder.timer.cancel()

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(render, range(225)))
    errors = [furthest(pixels(clip), right[family]) for family, clip in zip(order, made, strict=True) if clip]
    assert 25 <= len(errors) < 225
    assert max(errors) <= (BATCH_TOLERANCE if max_batch > 1 else 0)
    afterwards = [pixels(engines.render(job, Unwatched())) for job in jobs]
    assert max(map(furthest, afterwards, right)) == 0
    wait_until_idle(engines)
    assert tensors_alive() == before
    engines.close()


def wait_until_idle(engines: Engines) -> None:
    """A call ends in its own thread: after its clips are there, or at the next block once all of them have left."""
    for _ in range(60_000):
        if engines.is_idle:
            return
        threading.Event().wait(0.001)
    raise AssertionError("a slot is stuck")


def test_a_clip_after_a_stopped_one_is_as_on_a_fresh_worker(models):
    for model in models:
        fresh, used = OpenEngine(), OpenEngine()
        job = ClipJob(make_clip(steps=3), model)
        recorder = Interrupted(0.03)
        with suppress(RenderStopped):
            used.render(job, recorder)
        assert digest(used.render(job, Unwatched())) == digest(fresh.render(job, Unwatched()))
        fresh.close()
        used.close()
