"""Stops of running clips: at once, without a decode, and without an effect on the next clip."""

import gc
import threading
import weakref

import pytest

from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip, stopping_at
from fixtures.tiny_pipelines import KINDS, TinyPipelines, tiny_spec
from fixtures.turnstile import BlockCounter, inner_blocks, outer_blocks
from phoenix.engine.backends.diffusers.calling import clone_for_call
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.backends.diffusers.loading import load_pipeline
from phoenix.engine.backends.diffusers.step_callbacks import Call, report_steps
from phoenix.engine.interface import ClipInputs, NullObserver, RenderRequest
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import Stage


@pytest.fixture(scope="module")
def engine():
    engine = DiffusersEngine(device="cpu")
    yield engine
    engine.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_at_a_step_decodes_nothing_and_the_next_clip_is_bit_identical(
    engine, kind, tiny_pipelines: TinyPipelines, tmp_path
):
    inputs = ClipInputs(make_clip(steps=5), tiny_spec(kind, tiny_pipelines(kind), tmp_path))
    before = digest(engine.render(inputs, NullObserver()))
    recorder = stopping_at(2)
    with pytest.raises(RenderStopped) as stopped:
        engine.render(inputs, recorder)
    assert stopped.value.reason is StopReason.CANCEL
    assert recorder.steps == [(1, 5), (2, 5)]
    assert Stage.DECODE not in recorder.stages
    assert digest(engine.render(inputs, NullObserver())) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_within_a_step_takes_effect_at_the_next_block(kind, tiny_pipelines, tmp_path):
    engine, recorder = OpenEngine(), Recorder()
    inputs = ClipInputs(make_clip(), tiny_spec(kind, tiny_pipelines(kind), tmp_path))
    before = digest(engine.render(inputs, NullObserver()))
    counter = BlockCounter(outer_blocks(engine.loads[0].pipeline.transformer), recorder)
    counter.reset(stop_in=1)
    with pytest.raises(RenderStopped):
        engine.render(inputs, recorder)
    assert counter.entered == 1
    assert recorder.steps == []
    counter.remove()
    assert digest(engine.render(inputs, NullObserver())) == before
    engine.close()


def test_a_stop_from_another_thread_ends_a_long_clip_within_a_step(engine, tiny_wan):
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    steps_before: list[int] = []

    def ask(event: Stage | int) -> None:
        if event == 3:
            threading.Timer(0.02, stop).start()

    def stop() -> None:
        steps_before.append(len(recorder.steps))
        recorder.stop.stop(StopReason.PREEMPT)

    recorder = Recorder(ask)
    with pytest.raises(RenderStopped) as stopped:
        engine.render(ClipInputs(make_clip(steps=1000, width=128, num_frames=33), tiny_wan), recorder)
    assert stopped.value.reason is StopReason.PREEMPT
    assert len(recorder.steps) - steps_before[0] <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_in_the_middle_of_a_decode_takes_effect_at_the_next_block_and_leaves_no_trace(
    kind, tiny_pipelines, tmp_path
):
    engine, recorder = OpenEngine(), Recorder()
    inputs = ClipInputs(make_clip(num_frames=17), tiny_spec(kind, tiny_pipelines(kind), tmp_path))
    engine.render(inputs, NullObserver())
    counter = BlockCounter(inner_blocks(engine.loads[0].pipeline.vae.decoder), recorder)
    before = digest(engine.render(inputs, NullObserver()))
    # In the last pass of those that need several, when each of the others has left something behind.
    last_but_one = counter.entered - 1
    counter.reset(stop_in=last_but_one)
    with pytest.raises(RenderStopped):
        engine.render(inputs, recorder)
    assert recorder.stages[-1] is Stage.DECODE
    assert counter.entered == last_but_one
    counter.remove()
    assert digest(engine.render(inputs, NullObserver())) == before
    engine.close()


def test_a_stop_of_one_clip_leaves_the_other_on_the_same_weights_alone(engine, tiny_wan):
    inputs = ClipInputs(make_clip(steps=12), tiny_wan)
    before = digest(engine.render(inputs, NullObserver()))
    clips: list[str] = []
    other = threading.Thread(target=lambda: clips.append(digest(engine.render(inputs, NullObserver()))))

    def start_other(event: Stage | int) -> None:
        if event == 1:
            other.start()
        if event == 4:
            recorder.stop.stop(StopReason.CANCEL)

    recorder = Recorder(start_other)
    with pytest.raises(RenderStopped):
        engine.render(inputs, recorder)
    other.join()
    assert clips == [before]


def test_a_stopped_clip_does_not_load_its_model(tiny_wan):
    engine = DiffusersEngine(device="cpu")
    with pytest.raises(RenderStopped):
        engine.render(ClipInputs(make_clip(), tiny_wan), stopping_at(Stage.LOAD))
    assert engine.loaded_models() == ()


def test_a_pipeline_without_a_callback_reports_its_steps_through_its_scheduler(tiny_wan):
    recorder, seen = Recorder(), []
    call = Call([RenderRequest(ClipInputs(make_clip(), tiny_wan), recorder)])
    clone = clone_for_call(load_pipeline(tiny_wan, device="cpu", stop=recorder.stop).pipeline)
    more = report_steps(clone, call, steps=3, has_callback=False, show=seen.append)
    clone("a fox", width=64, height=64, num_frames=9, num_inference_steps=3, output_type="latent", **more)
    assert recorder.steps == [(1, 3), (2, 3), (3, 3)]
    assert [latents.shape[0] for latents in seen] == [1, 1, 1]


def test_a_stopped_clip_leaves_no_tensor_for_the_collector_to_find(tiny_wan):
    engine, alive = OpenEngine(), []
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    engine.loads[0].pipeline.transformer.register_forward_pre_hook(
        lambda _module, _args, named: alive.append(weakref.ref(named["hidden_states"])), with_kwargs=True
    )
    gc.disable()
    try:
        with pytest.raises(RenderStopped):
            engine.render(ClipInputs(make_clip(steps=9), tiny_wan), stopping_at(3))
        assert len(alive) == 6
        assert [latents for latents in alive if latents() is not None] == []
    finally:
        gc.enable()
        engine.close()
