"""Clips that several devices make together are those of one device. The devices are processes on the CPU."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.engine_clips import BATCH_TOLERANCE, furthest, pixels
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, make_clip, stopping_at
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from fixtures.video_classes.rows import ROWS
from fixtures.video_classes.verdicts import Judge
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.engine.backends.diffusers.denoising.denoisers import denoisers_of
from phoenix.engine.backends.diffusers.device_group.plan import GUIDED_BY_CALLS, PLANNED
from phoenix.engine.backends.diffusers.device_group.ranks import Rank, RankLost
from phoenix.engine.backends.diffusers.device_group.shared_calls import SharedModel, find_shared
from phoenix.engine.conditions.trial import make_trial_conditions
from phoenix.engine.interface import ClipInputs
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import FailureCode, TaskFailed

CLASSES_BY_DENOISER = {
    "ChronoEditPipeline": "ChronoEditTransformer3DModel",
    "WanImageToVideoPipeline": "WanTransformer3DModel",
}
BY_GUIDANCE = Parallelism(guidance=True)
BY_CONTEXT = Parallelism(context=2)
STEPS = 4


@pytest.fixture(scope="module")
def engine():
    engine = OpenEngine(device="cpu+cpu", preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def wan(tiny_pipelines: TinyPipelines, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_spec("wan", tiny_pipelines("wan"), tmp_path_factory.mktemp("entry"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(tmp_path_factory.mktemp("classes"))


def shared_by(model: ModelSpec, parallelism: Parallelism | str) -> ModelSpec:
    return model.model_copy(update={"id": f"{model.id}-shared", "parallelism": parallelism})


def render(engine: OpenEngine, model: ModelSpec, recorder: Recorder | None = None, **clip: Any) -> np.ndarray:
    inputs = ClipInputs(make_clip(**{"steps": STEPS, **clip}), model)
    return pixels(engine.render(inputs, recorder or Recorder()))


def shared_model(engine: OpenEngine, model: ModelSpec) -> SharedModel:
    found = find_shared(denoisers_of(engine.pipeline_of(model)))
    assert found is not None
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_branches_on_two_devices_make_the_clip_of_one_device_bit_by_bit(engine, wan):
    model = shared_by(wan, BY_GUIDANCE)
    assert furthest(render(engine, model), render(engine, wan)) == 0
    assert shared_model(engine, model).foreseen_calls == STEPS - 1


def test_a_sequence_on_two_devices_makes_the_clip_of_one_device(engine, wan):
    """Attention is computed head by head, so that the order of its sums may differ."""
    assert furthest(render(engine, shared_by(wan, BY_CONTEXT)), render(engine, wan)) <= BATCH_TOLERANCE


def test_a_clip_without_guidance_needs_no_second_branch(engine, wan):
    model = shared_by(wan, BY_GUIDANCE)
    assert furthest(render(engine, model, guidance_scale=1.0), render(engine, wan, guidance_scale=1.0)) == 0


def test_auto_uses_what_the_worker_has(engine, wan):
    guided = shared_by(wan, BY_GUIDANCE)
    expected = render(engine, guided)
    before = shared_model(engine, guided).foreseen_calls
    assert furthest(render(engine, shared_by(wan, "auto")), expected) == 0
    assert shared_model(engine, guided).foreseen_calls == before + STEPS - 1


@pytest.mark.parametrize("parallelism", [BY_GUIDANCE, BY_CONTEXT], ids=["guidance", "context"])
def test_a_stop_ends_the_clip_within_a_step_and_the_next_clip_is_whole(engine, wan, parallelism):
    model, recorder = shared_by(wan, parallelism), stopping_at(2)
    with pytest.raises(RenderStopped):
        render(engine, model, recorder)
    assert recorder.steps == [(1, STEPS), (2, STEPS)]
    assert furthest(render(engine, model), render(engine, wan)) <= BATCH_TOLERANCE


@pytest.mark.parametrize("parallelism", [BY_GUIDANCE, BY_CONTEXT], ids=["guidance", "context"])
def test_a_killed_rank_fails_its_clip_and_is_started_again_for_the_next_one(engine, wan, parallelism):
    model = shared_by(wan, parallelism)
    expected = render(engine, model)
    (killed,) = engine.rank_pids

    def kill_after_a_step(event: object) -> None:
        if event == 1:
            kill(killed)

    with pytest.raises(TaskFailed, match="the process for device cpu ended with status -9") as raised:
        render(engine, model, Recorder(kill_after_a_step))
    assert (raised.value.code, raised.value.retriable) == (FailureCode.ENGINE_FAILED, True)
    assert furthest(render(engine, model), expected) == 0
    assert engine.rank_pids not in ((killed,), ())


def test_a_size_that_cannot_be_divided_fails_its_clip_and_leaves_the_ranks(engine, wan):
    model = shared_by(wan, BY_CONTEXT)
    render(engine, model)
    before = engine.rank_pids
    with pytest.raises(TaskFailed, match="cannot be divided between 2 devices: choose another one") as raised:
        render(engine, model, width=16, height=16)
    assert not raised.value.retriable
    render(engine, model)
    assert engine.rank_pids == before


def test_weights_of_every_rank_count_in_the_memory_of_the_machine(engine, wan):
    before = engine.host_memory().used_bytes
    render(engine, shared_by(wan, BY_GUIDANCE).model_copy(update={"dtype": "bfloat16"}))
    loaded = engine.loads[-1]
    denoiser = sum(each.nbytes for each in loaded.pipeline.transformer.parameters())
    assert engine.host_memory().used_bytes >= before + loaded.host_bytes + denoiser


def test_two_experts_share_the_devices(engine, tiny_pipelines, tmp_path):
    model = tiny_spec("wan22", tiny_pipelines("wan22"), tmp_path)
    shared = shared_by(model, BY_GUIDANCE)
    assert furthest(render(engine, shared), render(engine, model)) == 0
    assert shared_model(engine, shared).foreseen_calls == STEPS - 1


def both_clips(engine: OpenEngine, judge: Judge, name: str, parallelism: Parallelism) -> tuple[np.ndarray, np.ndarray]:
    row = replace(next(row for row in ROWS if row.name == name), steps=STEPS)
    model, clip = judge.entry(row), {"width": row.side_px, "height": row.side_px, "num_frames": row.num_frames}
    conditions = make_trial_conditions(model, make_clip(steps=STEPS, **clip), judge.root)

    def render_entry(entry: ModelSpec) -> np.ndarray:
        return pixels(engine.render(ClipInputs(make_clip(steps=STEPS, **clip), entry, conditions), Recorder()))

    return render_entry(shared_by(model, parallelism)), render_entry(model)


@pytest.mark.parametrize("name", sorted(GUIDED_BY_CALLS))
def test_each_class_with_a_call_for_each_branch_has_its_second_branch_foreseen(engine, judge, name):
    together, alone = both_clips(engine, judge, name, BY_GUIDANCE)
    assert furthest(together, alone) == 0
    shared = next(load for load in reversed(engine.loads) if load.model.parallelism is not None)
    found = find_shared(denoisers_of(shared.pipeline))
    assert found is not None
    assert found.foreseen_calls > 0


@pytest.mark.parametrize(("name", "denoiser"), sorted(CLASSES_BY_DENOISER.items()))
def test_each_denoiser_that_can_be_divided_makes_the_clip_of_one_device(engine, judge, name, denoiser):
    together, alone = both_clips(engine, judge, name, BY_CONTEXT)
    assert type(engine.loads[-1].pipeline.transformer).__name__ == denoiser
    assert furthest(together, alone) <= BATCH_TOLERANCE


def test_a_class_has_been_tried_for_each_denoiser_that_can_be_divided():
    assert set(CLASSES_BY_DENOISER.values()) == PLANNED


def test_a_worker_with_one_device_refuses_the_model_with_the_option_to_start_it(wan):
    engine = OpenEngine()
    with pytest.raises(TaskFailed, match=r"start it with `--device cuda:0\+cuda:1`"):
        render(engine, shared_by(wan, BY_CONTEXT))
    assert engine.loads == []
    engine.close()


def test_a_rank_that_does_not_answer_is_given_up(tmp_path: Path):
    ended: list[str] = []
    rank = Rank("cpu", on_end=lambda: ended.append("by itself"), limit_s=0.2)
    assert rank.pid is not None
    os.kill(rank.pid, signal.SIGSTOP)
    command = rank.send("begin", device="cpu", threads=1)
    with pytest.raises(RankLost, match="device cpu did not answer within 0 s"):
        rank.wait_for(command, lambda: None)
    rank.stop()
    assert not rank.is_alive
    assert ended == []


def test_the_ranks_end_with_the_last_model_that_needs_them(engine, wan):
    render(engine, shared_by(wan, BY_GUIDANCE))
    (pid,) = engine.rank_pids
    engine.loads.clear()
    engine.close()
    assert engine.rank_pids == ()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
