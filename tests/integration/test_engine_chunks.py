"""Clips that are decoded in steps of time: the same bits, flat memory, and frames that leave during the decode."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.engine_clips import BATCH_TOLERANCE, furthest, pixels, requests_of, run_out_of_memory, trio
from fixtures.live_bytes import LiveBytes
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.calling import clone_for_call
from phoenix.engine.backends.diffusers.decoding.time_steps import STEADY_AFTER, decode_in_steps
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver, RenderedClip
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import Stage, TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings

CLIP = make_clip(num_frames=33, steps=1)
STEPS = 9
"""Steps of time of that clip: one frame, and then four at a time."""


@pytest.fixture(scope="module")
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


class Encoder:
    """Lets the engine render a clip as a worker does, and breaks into its decode."""

    def __init__(self, engine: OpenEngine, model: ModelSpec) -> None:
        engine.render(ClipInputs(make_clip(steps=1), model), NullObserver())
        self.decoder = next(load for load in engine.loads if load.model.id == model.id).pipeline.vae.decoder
        self.engines = EngineRegistry(
            engine=EngineSettings(), animatic=AnimaticSettings(), opened={"diffusers": engine}, device="cpu"
        )
        self.model, self.recorder = model, Recorder()
        self._handles: list[Any] = []

    def before_step(self, step: int, act: Callable[[], object]) -> None:
        """Acts once, before that step of the decode, from 1 on."""
        steps = 0

        def count(*_arguments: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == step:
                act()

        self._handles.append(self.decoder.register_forward_pre_hook(count))

    def render(self) -> RenderedClip:
        return self.engines.render(ClipInputs(CLIP, self.model), self.recorder)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


@pytest.fixture
def encoder(engine: OpenEngine, tiny_wan: ModelSpec):
    encoder = Encoder(engine, tiny_wan)
    yield encoder
    encoder.close()


def as_the_pipeline_makes_it(engine: OpenEngine, model: ModelSpec, clips: Sequence[Any], **more: Any) -> np.ndarray:
    """The output of the bare pipeline as bytes, one clip after the other."""
    loaded = next(load for load in engine.loads if load.model.id == model.id)
    clip, many = clips[0], len(clips) > 1
    generators = [torch.Generator("cpu").manual_seed(one.seed) for one in clips]
    video = clone_for_call(loaded.pipeline)(
        prompt=[one.prompt for one in clips] if many else clip.prompt,
        negative_prompt=[one.negative_prompt for one in clips] if many else clip.negative_prompt,
        width=clip.width,
        height=clip.height,
        num_frames=clip.num_frames,
        num_inference_steps=clip.steps,
        guidance_scale=clip.guidance_scale,
        max_sequence_length=32,
        generator=generators if many else generators[0],
        output_type="pt",
        **more,
    ).frames
    return video.mul(255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).reshape(-1).numpy().astype(int)


@pytest.mark.parametrize("kind", ["wan", "wan22", "wan_i2v"])
def test_the_frames_are_those_of_the_pipeline_bit_by_bit(
    kind: str, engine: OpenEngine, tiny_pipelines: TinyPipelines, tmp_path: Path, first_frame: Path
) -> None:
    from phoenix.engine.conditions.pictures import open_condition_picture  # noqa: PLC0415

    model = tiny_spec(kind, tiny_pipelines(kind), tmp_path)
    is_guided = kind == "wan_i2v"
    conditions = (ConditionFile("first_frame", first_frame),) if is_guided else ()
    made = pixels(engine.render(ClipInputs(CLIP, model, conditions), NullObserver()))
    more = {"image": open_condition_picture(first_frame, CLIP)} if is_guided else {}
    assert furthest(made, as_the_pipeline_makes_it(engine, model, [CLIP], **more)) == 0


def test_the_frames_of_a_batch_are_those_of_the_pipeline(engine: OpenEngine, tiny_wan: ModelSpec) -> None:
    all_inputs = trio(tiny_wan, num_frames=17)
    requests = requests_of(all_inputs)
    engine.render_batch(requests)
    made = np.concatenate([pixels(request.result()) for request in requests])
    bare = as_the_pipeline_makes_it(engine, tiny_wan, [one.clip for one in all_inputs])
    assert furthest(made, bare) <= BATCH_TOLERANCE


def test_frames_can_be_read_while_the_others_are_decoded(encoder: Encoder) -> None:
    go_on = threading.Event()
    encoder.before_step(STEADY_AFTER + 2, lambda: go_on.wait(30))
    rendered, is_made = encoder.render(), threading.Event()
    rendered.when_made(is_made.set)
    early = [next(rendered.frames) for _ in range(1 + 4 * (STEADY_AFTER - 1))]
    assert not is_made.is_set()
    assert not encoder.engines.is_idle
    go_on.set()
    assert len(early + list(rendered.frames)) == CLIP.num_frames
    assert is_made.is_set()
    assert encoder.recorder.stages[-1] is Stage.DECODE


def test_a_stop_between_two_steps_ends_the_decode_and_the_reader(encoder: Encoder) -> None:
    reached: list[int] = []
    encoder.before_step(STEADY_AFTER + 2, lambda: encoder.recorder.stop.stop(StopReason.CANCEL))
    encoder.before_step(STEADY_AFTER + 4, lambda: reached.append(1))
    with pytest.raises(RenderStopped):
        list(encoder.render().frames)
    assert not reached


def test_a_shortage_after_the_first_frames_left_makes_the_rest_once_more(encoder: Encoder) -> None:
    before = list(encoder.render().frames)
    encoder.before_step(STEADY_AFTER + 3, run_out_of_memory)
    assert list(encoder.render().frames) == before


def test_values_that_are_not_numbers_fail_their_clip_alone_although_it_left_already(
    engine: OpenEngine, encoder: Encoder
) -> None:
    calls = 0

    def spoil(_module: Any, _args: Any, made: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return made * torch.nan if calls == STEPS + STEADY_AFTER + 2 else made

    handle = encoder.decoder.register_forward_hook(spoil)
    requests = requests_of(trio(encoder.model, num_frames=33))
    engine.render_batch(requests)
    handle.remove()
    with pytest.raises(TaskFailed, match="not numbers"):
        list(requests[1].wait().frames)
    assert [len(list(requests[index].result().frames)) for index in (0, 2)] == [33, 33]


def test_the_first_clip_of_a_batch_does_not_wait_for_the_decode_of_the_others(
    engine: OpenEngine, encoder: Encoder
) -> None:
    requests = requests_of(trio(encoder.model, num_frames=33))
    finished: list[list[bool]] = []
    encoder.before_step(STEPS + 1, lambda: finished.append([request.is_finished for request in requests]))
    engine.render_batch(requests)
    assert finished == [[True, False, False]]


def test_a_shortage_in_the_second_clip_of_a_batch_does_not_make_the_first_again(
    engine: OpenEngine, encoder: Encoder
) -> None:
    requests, passes = requests_of(trio(encoder.model, num_frames=33, steps=1)), list[int]()
    handle = encoder.decoder.register_forward_pre_hook(lambda *_: passes.append(1))
    encoder.before_step(STEPS + 2, run_out_of_memory)
    engine.render_batch(requests)
    handle.remove()
    assert all(request.has_succeeded for request in requests)
    assert len(passes) == 3 * STEPS + 2


def test_the_memory_of_a_decode_does_not_grow_with_the_clip(engine: OpenEngine, encoder: Encoder) -> None:
    vae = engine.loads[0].pipeline.vae

    def peak_of(steps: int) -> int:
        latents = torch.randn(1, 16, steps, 8, 8)
        with torch.no_grad(), LiveBytes() as live:
            for _ in decode_in_steps(vae, latents):
                pass
        return live.peak - 2 * latents.nbytes

    short, long = peak_of(4), peak_of(16)
    assert long < 1.1 * short
