"""Loads of real, tiny pipelines: once, one at a time, within a budget, and never from a pickle."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import torch

from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.engine.backends.diffusers.calling import clone_for_call
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.backends.diffusers.loading import load_pipeline, weight_bytes
from phoenix.engine.interface import ClipInputs, NullObserver, ProcessUnfit
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings
from phoenix.worker.warmup import warm_up


def load(model: ModelSpec):
    return load_pipeline(model, device="cpu", stop=StopToken())


@pytest.fixture
def copied_wan(tiny_pipelines: TinyPipelines, tmp_path: Path) -> Path:
    """A copy of the folder that a test may break."""
    return Path(shutil.copytree(tiny_pipelines("wan"), tmp_path / "copy"))


def failure_of(engine: DiffusersEngine, model: ModelSpec) -> TaskFailed:
    with pytest.raises(TaskFailed) as failed:
        engine.render(ClipInputs(make_clip(), model), NullObserver())
    return failed.value


def test_loads_in_several_threads_at_once_leave_every_weight_with_its_data(tiny_pipelines, tmp_path):
    models = [tiny_spec(kind, tiny_pipelines(kind), tmp_path) for kind in ("wan", "ltx", "hunyuan")]
    barrier = threading.Barrier(3)

    def load_often(model: ModelSpec) -> list[int]:
        barrier.wait(60)
        return [load(model).memory_bytes for _ in range(5)]

    with ThreadPoolExecutor(3) as pool:
        sizes = list(pool.map(load_often, models))
    assert all(len(set(of_model)) == 1 and of_model[0] > 100_000 for of_model in sizes)
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_concurrent_first_requests_cause_one_load(tiny_wan):
    engine = OpenEngine()

    def render(_turn: int) -> str:
        return digest(engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver()))

    with ThreadPoolExecutor(4) as pool:
        clips = list(pool.map(render, range(4)))
    assert len(engine.loads) == 1
    assert len(set(clips)) == 1


@pytest.mark.parametrize(
    "budget", [{"memory_budget_bytes": 700_000}, {"memory_budget_bytes": 1_400_000, "device_share": 0.5}]
)
def test_models_over_the_budget_of_this_process_are_evicted_for_each_other(tiny_pipelines, tmp_path, budget):
    wan, ltx = (tiny_spec(kind, tiny_pipelines(kind), tmp_path) for kind in ("wan", "ltx"))
    engine = DiffusersEngine(device="cpu", settings=EngineSettings(**budget))
    for model in (wan, ltx, wan):
        engine.render(ClipInputs(make_clip(), model), NullObserver())
    assert engine.loaded_models() == ("tiny-wan",)


def test_a_clone_needs_no_memory(tiny_wan):
    loaded = load(tiny_wan)
    clone = clone_for_call(loaded.pipeline)
    assert clone.transformer is loaded.pipeline.transformer
    assert clone.scheduler is not loaded.pipeline.scheduler
    assert weight_bytes(loaded.pipeline, "cpu") == weight_bytes(clone, "cpu") == loaded.memory_bytes


def test_a_clone_keeps_the_configuration_of_its_pipeline(tiny_pipelines, tmp_path):
    loaded = load(tiny_spec("wan22", tiny_pipelines("wan22"), tmp_path))
    assert clone_for_call(loaded.pipeline).config.boundary_ratio == 0.875


def test_the_weights_have_the_precision_of_the_entry_and_the_vae_its_own(tiny_wan):
    model = tiny_wan.model_copy(update={"dtype": "bfloat16", "options": {"vae_dtype": "float32", "vae_tiling": True}})
    pipeline = load(model).pipeline
    assert pipeline.text_encoder.dtype is torch.bfloat16
    assert pipeline.vae.dtype is torch.float32
    assert pipeline.vae.use_tiling


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dtype": "float33"}, "float33"),
        ({"dtype": "nn"}, "nn"),
        ({"options": {"vae_dtype": "bfloat17"}}, "bfloat17"),
        ({"options": {"vae_dtype": 16}}, "16"),
    ],
)
def test_a_precision_that_torch_does_not_have_is_named(tiny_wan, changes, name):
    failed = failure_of(DiffusersEngine(device="cpu"), tiny_wan.model_copy(update=changes))
    assert (failed.code, failed.stage) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD)
    assert f"there is no dtype '{name}'" in failed.detail


def test_a_flow_shift_of_the_entry_reaches_every_call(tiny_wan):
    loaded = load(tiny_wan.model_copy(update={"options": {"flow_shift": 8.0}}))
    assert clone_for_call(loaded.pipeline).scheduler.config.flow_shift == 8.0


def test_pickled_weights_are_not_loaded_and_the_engine_still_works(copied_wan, tiny_wan, tmp_path):
    engine = DiffusersEngine(device="cpu")
    weights = copied_wan / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    failed = failure_of(engine, tiny_spec("wan", copied_wan, tmp_path))
    assert (failed.code, failed.stage) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD)
    assert "is a pickle" in failed.detail
    assert len(list(engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver()).frames)) == 9


def drop_tensor(weights: Path, ending: str) -> None:
    """Rewrites a safetensors file without the first tensor whose name ends so."""
    tensors = safetensors.torch.load_file(weights)
    gone = next(name for name in tensors if name.endswith(ending))
    kept = {name: tensor for name, tensor in tensors.items() if name != gone}
    safetensors.torch.save_file(kept, weights, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", ["wan", "hunyuan"])
def test_a_text_encoder_that_lacks_a_weight_is_unavailable_and_not_filled_in_at_random(kind, tiny_pipelines, tmp_path):
    copy = Path(shutil.copytree(tiny_pipelines(kind), tmp_path / "copy"))
    drop_tensor(copy / "text_encoder" / "model.safetensors", "q.weight" if kind == "wan" else "q_proj.weight")
    failed = failure_of(DiffusersEngine(device="cpu"), tiny_spec(kind, copy, tmp_path))
    assert (failed.code, failed.retriable) == (FailureCode.MODEL_UNAVAILABLE, False)
    assert "has no weights for text_encoder." in failed.detail


def test_a_text_encoder_without_any_weights_is_unavailable(copied_wan, tmp_path):
    (copied_wan / "text_encoder" / "model.safetensors").unlink()
    failed = failure_of(DiffusersEngine(device="cpu"), tiny_spec("wan", copied_wan, tmp_path))
    assert failed.code is FailureCode.MODEL_UNAVAILABLE
    assert "text_encoder has no weights" in failed.detail


def test_a_transformer_that_lacks_a_weight_is_unavailable(copied_wan, tmp_path):
    drop_tensor(copied_wan / "transformer" / "diffusion_pytorch_model.safetensors", "to_q.weight")
    failed = failure_of(DiffusersEngine(device="cpu"), tiny_spec("wan", copied_wan, tmp_path))
    assert failed.code is FailureCode.MODEL_UNAVAILABLE


@pytest.mark.parametrize("broken", ["config.json", "tensors"])
def test_a_folder_that_diffusers_cannot_read_is_unavailable_with_the_reason(copied_wan, tmp_path, broken):
    part = copied_wan / "transformer"
    if broken == "config.json":
        (part / "config.json").write_text('{"_class_name": "WanTransformer3DModel", "num_layers": "two"}')
    else:
        shutil.copy(copied_wan / "vae" / "diffusion_pytorch_model.safetensors", part)
    failed = failure_of(DiffusersEngine(device="cpu"), tiny_spec("wan", copied_wan, tmp_path))
    assert failed.code is FailureCode.MODEL_UNAVAILABLE
    assert "cannot be loaded" in failed.detail or "has no weights for transformer." in failed.detail


def test_an_option_that_the_pipeline_does_not_know_is_named(tiny_wan):
    model = tiny_wan.model_copy(update={"options": {"cfg_rescale": 0.5}})
    failed = failure_of(DiffusersEngine(device="cpu"), model)
    assert failed.code is FailureCode.MODEL_UNAVAILABLE
    assert "WanPipeline has no option 'cfg_rescale'" in failed.detail


def test_an_entry_with_a_first_frame_for_a_text_pipeline_is_refused(tiny_wan):
    failed = failure_of(
        DiffusersEngine(device="cpu"), tiny_wan.model_copy(update={"conditions": {"first_frame": ConditionRule()}})
    )
    assert "WanPipeline takes no first_frame" in failed.detail


def test_a_process_whose_torch_was_left_patched_is_unfit(tiny_wan):
    original = torch.nn.Module.register_parameter
    torch.nn.Module.register_parameter = lambda *arguments: original(*arguments)  # noqa: PLW0108 (must be another object)
    try:
        with pytest.raises(ProcessUnfit, match="torch was left patched"):
            load(tiny_wan)
    finally:
        torch.nn.Module.register_parameter = original


def test_a_load_that_was_stopped_while_it_waited_reads_nothing(tiny_wan):
    token = StopToken()
    token.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        load_pipeline(tiny_wan, device="cpu", stop=token)


def test_a_load_continues_for_another_clip_when_a_clip_is_stopped(tiny_wan):
    gate, reading, loads = threading.Event(), threading.Event(), []

    def load_slowly(model: ModelSpec, *, device: str, stop: StopToken):
        loads.append(model.id)
        reading.set()
        assert gate.wait(30)
        return load_pipeline(model, device=device, stop=stop)

    engine = DiffusersEngine(device="cpu", load=load_slowly)
    leaving, staying = Recorder(), Recorder()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.render, ClipInputs(make_clip(), tiny_wan), leaving)
        assert reading.wait(30)
        second = pool.submit(engine.render, ClipInputs(make_clip(), tiny_wan), staying)
        while not staying.stages:
            threading.Event().wait(0.001)
        leaving.stop.stop(StopReason.CANCEL)
        assert isinstance(first.exception(30), RenderStopped)
        assert not second.done()
        gate.set()
        assert len(list(second.result(30).frames)) == 9
    assert len(loads) == 1
    engine.close()


def test_an_idle_model_is_dropped(tiny_wan):
    engine = DiffusersEngine(device="cpu", settings=EngineSettings(idle_timeout_s=0.05))
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    for _ in range(10_000):
        if not engine.loaded_models():
            break
        threading.Event().wait(0.001)
    assert engine.loaded_models() == ()
    assert len(list(engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver()).frames)) == 9
    engine.close()


@pytest.mark.parametrize("kind", ["wan", "ltx_i2v"])
def test_a_warmed_up_model_is_in_memory_before_its_first_clip(kind, tiny_pipelines, tmp_path):
    model = tiny_spec(kind, tiny_pipelines(kind), tmp_path)
    engines = EngineRegistry(engine=EngineSettings(), animatic=AnimaticSettings(), device="cpu")
    warm_up(engines, model, StopToken())
    assert engines.loaded_models() == (model.id,)
    engines.close()


def test_a_failed_warmup_is_reported(copied_wan, tmp_path):
    shutil.rmtree(copied_wan / "vae")
    engines = EngineRegistry(engine=EngineSettings(), animatic=AnimaticSettings(), device="cpu")
    with pytest.raises(TaskFailed, match="the component 'vae' is missing"):
        warm_up(engines, tiny_spec("wan", copied_wan, tmp_path), StopToken())
    engines.close()
