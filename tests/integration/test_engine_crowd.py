"""Many clips, loads and stops at once on tiny pipelines of every family: nothing wrong, nothing left, nothing stuck."""

import gc
import random
import threading
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
                steps=2 + number % 3,
                guidance_scale=3.0 + number % 2,
                width=128 if number % 5 == 0 else 64,
                num_frames=17 if number % 7 == 0 else 9,
            ),
            models[number % len(models)],
        )
        for number in range(48)
    ]


def open_engines(**settings: Any) -> tuple[Engines, DeviceSlots]:
    slots = DeviceSlots(settings.pop("slots", 1), wait_limit_s=60)
    opened = Engines(engine=EngineSettings(**settings), animatic=AnimaticSettings(), device="cpu", slots=slots)
    return opened, slots


def test_48_mixed_clips_from_four_threads_are_bit_identical_to_serial_ones(models):
    engine = OpenEngine()
    jobs = mixed_clips(models)
    serial = [digest(engine.render(job, Unwatched())) for job in jobs]
    order = list(range(48))
    random.Random(7).shuffle(order)
    with ThreadPoolExecutor(4) as pool:
        made = dict(zip(order, pool.map(lambda i: digest(engine.render(jobs[i], Unwatched())), order), strict=True))
    assert [made[number] for number in range(48)] == serial
    assert len(set(serial)) == 48
    engine.close()


def test_20_first_requests_at_once_cause_one_load(tiny_wan):
    engine = OpenEngine()
    barrier = threading.Barrier(20)

    def render(_number: int) -> str:
        barrier.wait(30)
        return digest(engine.render(ClipJob(make_clip(), tiny_wan), Unwatched()))

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
def test_90_stops_at_random_moments_leave_no_wrong_clip_no_tensor_and_no_slot(tiny_wan, max_batch):
    engines, slots = open_engines(max_batch=max_batch, batch_window_s=0.005, preview_interval_s=0, slots=2)
    job = ClipJob(make_clip(steps=3), tiny_wan)
    right = pixels(engines.render(job, Unwatched()))
    engines.render(job, Unwatched())
    before = tensors_alive()
    moments = random.Random(max_batch)

    def render(number: int) -> RenderedClip | None:
        if number % 10 == 0:
            return engines.render(job, Unwatched())
        recorder = Interrupted(moments.uniform(0.001, 0.2))
        try:
            return engines.render(job, recorder)
        except RenderStopped:
            return None
        finally:
            recorder.timer.cancel()

    with ThreadPoolExecutor(4) as pool:
        made = [rendered for rendered in pool.map(render, range(100)) if rendered is not None]
    assert 10 <= len(made) < 100
    assert max(furthest(pixels(rendered), right) for rendered in made) <= (BATCH_TOLERANCE if max_batch > 1 else 0)
    wait_until_free(slots)
    assert furthest(pixels(engines.render(job, Unwatched())), right) == 0
    assert tensors_alive() == before
    engines.close()


def wait_until_free(slots: DeviceSlots) -> None:
    """A call whose clips have all left ends at its next block, in its own thread."""
    for _ in range(10_000):
        if slots.held == slots.waiting == 0:
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
