"""Step caches, attention and casting by layer on real, tiny pipelines: each acts, or is refused by its name."""

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import FloatRange
from phoenix.catalog.tuning import StepCache
from phoenix.engine.backends.diffusers.denoising.denoisers import denoisers_of
from phoenix.engine.backends.diffusers.denoising.step_caches import counting_block_runs
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import FailureCode, TaskFailed

CLIP = make_clip(steps=10)

SpecOf = Callable[..., ModelSpec]


@pytest.fixture(scope="module")
def engine():
    """One load of each pipeline serves all tests here: what they set is not in the weights."""
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture
def spec_of(tiny_pipelines: TinyPipelines, tmp_path: Path) -> SpecOf:
    return lambda kind, **changes: tiny_spec(kind, tiny_pipelines(kind), tmp_path).model_copy(update=changes)


def render(engine: OpenEngine, model: ModelSpec, steps: int = CLIP.steps) -> str:
    clip = CLIP.model_copy(update={"steps": steps, "guidance_scale": model.guidance_scale.maximum})
    return digest(engine.render(ClipInputs(clip, model), NullObserver()))


def reason_of(engine: OpenEngine, model: ModelSpec) -> str:
    with pytest.raises(TaskFailed) as failed:
        render(engine, model)
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
    return failed.value.detail


UNGUIDED = FloatRange(minimum=1, maximum=1, default=1)
CACHES = {
    "first_block": StepCache(kind="first_block", threshold=5),
    "taylor_seer": StepCache(kind="taylor_seer"),
    "mag_cache": StepCache(kind="mag_cache", threshold=0.9, ratios=(1.0, 1.0, 1.0)),
    "sea_cache": StepCache(kind="sea_cache", threshold=5),
    "pyramid_attention": StepCache(kind="pyramid_attention"),
}


@pytest.mark.parametrize(
    ("pipeline", "cache"),
    [*(("wan", name) for name in CACHES), ("wan22", "first_block"), ("cogvideox", "pyramid_attention")],
)
def test_a_step_cache_skips_blocks_and_leaves_the_other_entries_over_the_weights_alone(
    engine, spec_of, pipeline, cache
):
    plain = spec_of(pipeline, guidance_scale=UNGUIDED)
    before = render(engine, plain)
    loads = len(engine.loads)
    cached = plain.model_copy(update={"step_cache": CACHES[cache]})
    with capture_logs() as logs:
        first = render(engine, cached)
    assert next(line["skipped_share"] for line in logs if "skipped blocks" in line["event"]) > 0.1
    assert first != before
    assert (render(engine, cached), render(engine, plain)) == (first, before)
    assert len(engine.loads) == loads


@pytest.mark.parametrize(
    ("pipeline", "cache", "reason"),
    [
        ("ltx", "sea_cache", "LTXPipeline does not tell it the step"),
        ("wan22", "mag_cache", "each of the two experts makes only a part"),
        ("wan", "pyramid_attention", "would get the attention of the first; it needs guidance_scale.maximum = 1"),
    ],
)
def test_a_step_cache_that_would_act_wrongly_or_not_at_all_is_refused(engine, spec_of, pipeline, cache, reason):
    assert reason in reason_of(engine, spec_of(pipeline, step_cache=CACHES[cache]))


def test_a_step_cache_that_skipped_nothing_of_a_clip_is_logged(engine, spec_of):
    exact = spec_of("wan", step_cache=StepCache(kind="first_block", threshold=1e-9))
    with capture_logs() as logs:
        assert render(engine, exact) == render(engine, spec_of("wan"))
    assert [line["log_level"] for line in logs if "skipped nothing" in line["event"]] == ["warning"]


def test_the_ratios_of_mag_cache_are_fitted_to_the_steps_of_each_clip(engine, spec_of):
    cached = spec_of("wan", step_cache=CACHES["mag_cache"])
    long, short = render(engine, cached), render(engine, cached, steps=6)
    transformer = engine.pipeline_of(cached).transformer
    assert transformer._cache_config.num_inference_steps == 6
    assert (render(engine, cached), render(engine, cached, steps=6)) == (long, short)


def test_cached_and_plain_calls_over_the_same_weights_run_at_the_same_time(engine, spec_of):
    models = [spec_of("wan"), spec_of("wan", step_cache=CACHES["first_block"])] * 4
    alone = [render(engine, model) for model in models[:2]] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda model: render(engine, model), models)) == alone


def test_a_layer_in_a_skipped_block_is_not_counted_as_run(engine, spec_of):
    cached = spec_of("wan", step_cache=CACHES["taylor_seer"], guidance_scale=UNGUIDED)
    render(engine, cached)
    with counting_block_runs(list(denoisers_of(engine.pipeline_of(cached)).values())) as use:
        render(engine, cached)
    assert (use.calls, use.block_runs) == (CLIP.steps, 5)


def backends_of(pipeline: Any) -> set[str]:
    processors = [getattr(part, "processor", None) for part in pipeline.transformer.modules()]
    return {processor._attention_backend.value for processor in processors if processor is not None}


def test_each_entry_has_its_own_attention_and_leaves_that_of_the_process_alone(engine, spec_of):
    kernels: Any = importlib.import_module("diffusers.models.attention_dispatch")
    plain, exact = spec_of("wan"), spec_of("wan", attention="_native_math")
    first = [render(engine, exact), render(engine, plain)]
    assert [render(engine, exact), render(engine, plain)] == first
    assert [backends_of(engine.pipeline_of(model)) for model in (plain, exact)] == [{"native"}, {"_native_math"}]
    assert kernels._AttentionBackendRegistry._active_backend == "native"


@pytest.mark.parametrize("attention", ["_native_cudnn", "flash", "sage", "xformers"])
def test_an_attention_that_this_device_or_installation_lacks_is_refused(engine, spec_of, attention):
    assert f"attention {attention} cannot be used: " in reason_of(engine, spec_of("wan", attention=attention))


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("ltx", "`attn_mask` is not supported for native flash attention"),
        ("cogvideox", "CogVideoXTransformer3DModel has no attention that can be chosen"),
    ],
)
def test_an_attention_that_a_model_cannot_use_is_refused(engine, spec_of, pipeline, reason):
    assert reason in reason_of(engine, spec_of(pipeline, attention="_native_flash"))


def test_casting_by_layer_halves_the_weights_of_the_denoiser_and_repeats_its_clips(spec_of):
    engine = OpenEngine(preview_interval_s=0)
    plain = spec_of("wan", dtype="bfloat16", options={"max_sequence_length": 32, "vae_dtype": "float32"})
    cast = plain.model_copy(update={"layerwise_casting": "float8_e4m3fn"})
    exact, whole = render(engine, plain), engine.loads[-1].memory_bytes
    inexact = render(engine, cast)
    assert render(engine, cast) == inexact != exact
    stored = [layer.weight for layer in engine.loads[-1].pipeline.transformer.modules() if is_linear(layer)]
    assert sum(weights.dtype is torch.float8_e4m3fn for weights in stored) > len(stored) / 2
    assert engine.loads[-1].memory_bytes < whole
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: render(engine, cast), range(3))) == {inexact}
    engine.close()


def is_linear(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.Linear)
