"""Real pipelines of each family, tiny: the right frames, the same frames, and the same frames from many threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from fixtures.renders import Recorder, digest, make_clip
from fixtures.tiny_pipelines import KINDS, TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import Stage

CLIPS = [
    make_clip(prompt="a cat walks on the grass", seed=1, steps=2),
    make_clip(prompt="scene 1: a lighthouse in a storm", seed=2, steps=4, guidance_scale=3.0),
    make_clip(prompt="a red fox", negative_prompt="blurry", seed=3, steps=3, num_frames=17),
    make_clip(prompt="running through snow at dawn", seed=4, steps=2, width=128),
]


@pytest.fixture(scope="module")
def engine():
    """With one torch thread per call, or four calls at once would fight for the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    engine = DiffusersEngine(device="cpu")
    yield engine
    engine.close()
    torch.set_num_threads(threads)


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec(request.param, tiny_pipelines(request.param), tmp_path)


def test_a_clip_has_the_frames_steps_and_stages_that_were_asked_for(engine, model):
    recorder = Recorder()
    rendered = engine.render(ClipInputs(make_clip(steps=3), model), recorder)
    frames = list(rendered.frames)
    assert len(frames) == 9
    assert {len(frame) for frame in frames} == {64 * 64 * 3}
    assert recorder.steps == [(1, 3), (2, 3), (3, 3)]
    assert recorder.stages == [Stage.LOAD, Stage.TEXT, Stage.DENOISE, Stage.DECODE]


def test_threads_that_share_the_weights_make_bit_identical_clips(engine, model):
    alone = [digest(engine.render(ClipInputs(clip, model), NullObserver())) for clip in CLIPS]
    assert len(set(alone)) == len(CLIPS)
    barrier = threading.Barrier(4)

    def render(worker: int) -> list[bool]:
        barrier.wait(60)
        order = [(worker + turn) % 4 for turn in range(3)]
        return [digest(engine.render(ClipInputs(CLIPS[i], model), NullObserver())) == alone[i] for i in order]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(render, range(4)))
    assert results == [[True] * 3] * 4


def test_an_engine_that_was_closed_loads_again_and_makes_the_same_clip(engine, tiny_wan):
    before = digest(engine.render(ClipInputs(CLIPS[0], tiny_wan), NullObserver()))
    engine.close()
    assert engine.loaded_models() == ()
    assert digest(engine.render(ClipInputs(CLIPS[0], tiny_wan), NullObserver())) == before


def test_the_second_expert_of_wan_22_takes_part(engine, tiny_pipelines, tmp_path):
    one, two = (tiny_spec(kind, tiny_pipelines(kind), tmp_path) for kind in ("wan", "wan22"))
    clip = make_clip(steps=6)
    assert digest(engine.render(ClipInputs(clip, one), NullObserver())) != digest(
        engine.render(ClipInputs(clip, two), NullObserver())
    )
