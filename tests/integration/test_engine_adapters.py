"""Adapters of requests on real, tiny pipelines: each call has its own, over one copy of the weights."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from fixtures.engine_clips import furthest, pixels
from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from fixtures.tiny_adapters import lora_weights, write_adapter
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.adapters import AdapterFile, AdapterSpec, AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Lora, StepCache
from phoenix.engine.backends.diffusers.adapters.files import find_parts
from phoenix.engine.backends.diffusers.adapters.sets import MAX_SETS
from phoenix.engine.backends.diffusers.loading import pipeline_for, with_adapters
from phoenix.engine.interface import ClipInputs, NullObserver, RenderRequest
from phoenix.errors import FailureCode, TaskFailed

BOTH = ("transformer", "transformer_2")


@pytest.fixture
def engine():
    engine = OpenEngine()
    yield engine
    engine.close()


@pytest.fixture
def wan22(tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    """Two experts: the first makes the early steps, the second the late ones."""
    return tiny_spec("wan22", tiny_pipelines("wan22"), tmp_path)


@pytest.fixture
def film(wan22: ModelSpec, tmp_path: Path) -> AdapterSpec:
    return write_adapter(tmp_path / "film", wan22, "film", seed=1, components=BOTH)


@pytest.fixture
def grain(wan22: ModelSpec, tmp_path: Path) -> AdapterSpec:
    return write_adapter(tmp_path / "grain", wan22, "grain", seed=2, components=BOTH)


def inputs_of(model: ModelSpec, *uses: AdapterUse, **clip: Any) -> ClipInputs:
    loras = [{"id": use.adapter.id, "scale": use.scale} for use in uses]
    return ClipInputs(make_clip(steps=3, loras=loras, **clip), model, adapters=uses)


def render(engine: OpenEngine, model: ModelSpec, *uses: AdapterUse) -> str:
    return digest(engine.render(inputs_of(model, *uses), NullObserver()))


def test_a_pair_acts_on_both_experts_and_each_file_on_its_own(engine, wan22, film):
    high, low = film.files
    halves = [film.model_copy(update={"files": files}) for files in ((high,), (low,), (high, low))]
    clips = [render(engine, wan22, AdapterUse(half, 1.0)) for half in halves]
    assert len({render(engine, wan22), *clips}) == 4


def test_calls_with_other_adapters_at_a_time_are_those_of_calls_one_by_one(engine, wan22, film, grain):
    sets = [
        (),
        (AdapterUse(film, 1.0),),
        (AdapterUse(grain, 1.0),),
        (AdapterUse(film, 0.5), AdapterUse(grain, 0.5)),
        (AdapterUse(film, 0.25),),
    ]
    alone = [render(engine, wan22, *uses) for uses in sets]
    assert len(set(alone)) == len(sets)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda uses: render(engine, wan22, *uses), sets * 3)) == alone * 3
    assert len(engine.loads) == 1


def test_a_scale_of_0_and_no_adapter_give_the_clip_of_the_model_alone(engine, wan22, film):
    before = render(engine, wan22)
    render(engine, wan22, AdapterUse(film, 1.0))
    assert [render(engine, wan22), render(engine, wan22, AdapterUse(film, 0.0))] == [before, before]


def test_an_adapter_gives_the_same_clip_whether_or_not_others_are_in_memory(engine, wan22, film, grain):
    alone = render(engine, wan22, AdapterUse(film, 1.0))
    engine.close()
    render(engine, wan22, AdapterUse(grain, 1.0))
    assert render(engine, wan22, AdapterUse(film, 1.0)) == alone


def test_a_fused_lora_of_the_entry_and_an_adapter_of_the_request_both_act(engine, wan22, film, grain):
    (high, _) = grain.files
    fused = Lora(source=grain.source, weight_name=high.weight_name, component="transformer")
    styled = wan22.model_copy(update={"loras": (fused,)})
    clips = {render(engine, model, *uses) for model in (wan22, styled) for uses in ((), (AdapterUse(film, 1.0),))}
    assert len(clips) == 4


@pytest.mark.parametrize("offload", ["model", "group"])
def test_an_offloaded_model_makes_the_same_clip_with_an_adapter(engine, wan22, film, offload):
    def clip(model: ModelSpec, *uses: AdapterUse) -> np.ndarray:
        return pixels(engine.render(inputs_of(model, *uses), NullObserver()))

    uses = (AdapterUse(film, 0.5),)
    plain, styled = clip(wan22), clip(wan22, *uses)
    offloaded = wan22.model_copy(update={"offload": offload})
    # Weights at another address may round otherwise.
    assert furthest(clip(offloaded, *uses), styled) <= 1 < furthest(plain, styled)
    assert furthest(clip(offloaded), plain) == 0


def test_an_offloaded_model_is_loaded_once_for_its_adapter_and_not_without_it_before(engine, wan22, film):
    offloaded = wan22.model_copy(update={"offload": "model"})
    for _ in range(2):
        with engine.preload(offloaded, NullObserver().stop, has_adapters=True):
            render(engine, offloaded, AdapterUse(film, 0.5))
    assert len(engine.loads) == 1


def test_a_step_cache_acts_on_each_set_over_one_copy_of_the_weights(engine, wan22, film):
    cached = wan22.model_copy(update={"step_cache": StepCache(kind="first_block", threshold=0.5)})
    calls = [(model, uses) for model in (wan22, cached) for uses in ((), (AdapterUse(film, 1.0),))]
    clips = [render(engine, model, *uses) for model, uses in calls]
    assert len(set(clips)) == len(calls)
    assert [render(engine, model, *uses) for model, uses in calls] == clips
    assert len(engine.loads) == 1


def test_clips_of_one_batch_have_the_same_adapters_and_the_sets_are_not_mixed(engine, wan22, film):
    uses = (AdapterUse(film, 1.0),)
    requests = [RenderRequest(inputs_of(wan22, *uses, seed=seed), NullObserver()) for seed in (1, 2)]
    engine.render_batch(requests)
    alone = digest(engine.render(inputs_of(wan22, *uses, seed=1), NullObserver()))
    plain = digest(engine.render(inputs_of(wan22, seed=1), NullObserver()))
    assert plain != digest(requests[0].result())
    assert {request.result().batch_size for request in requests} == {2}
    assert alone != plain


def test_adapters_take_the_memory_of_their_weights_and_leave_with_their_sets(engine, wan22, film):
    render(engine, wan22, AdapterUse(film, 1.0))
    sizes = [sum(t.nbytes for t in lora_weights(wan22, each, 10 + n).values()) for n, each in enumerate(BOTH)]
    sets = engine.loads[0].adapter_sets
    assert sets.memory_bytes == sum(sizes)
    other = film.model_copy(update={"files": film.files[:1]})
    for number in range(MAX_SETS):
        render(engine, wan22, AdapterUse(other, 0.1 + number / 10))
    assert sets.memory_bytes == sizes[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"blocks.0.attn1.to_q": "blocks.7.attn1.to_q"}, "has weights for transformer.blocks.7.attn1.to_q.lora_A"),
        ({"transformer.blocks.0": "text_encoder.blocks.0"}, "has weights for text_encoder.blocks.0.attn1.to_k"),
    ],
)
def test_weights_for_a_layer_that_the_model_lacks_are_refused_by_name(engine, wan22, film, change, complaint):
    ((old, new),) = change.items()
    file = Path(film.source, film.files[0].weight_name)
    weights = {key.replace(old, new): value for key, value in lora_weights(wan22, "transformer", 10).items()}
    safetensors.torch.save_file(weights, file)
    with pytest.raises(TaskFailed, match=complaint) as failed:
        render(engine, wan22, AdapterUse(film, 1.0))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


def test_an_adapter_of_another_shape_is_refused_and_leaves_the_model_usable(engine, wan22, film, grain):
    weights = lora_weights(wan22, "transformer", 10)
    cut = {key: value[:, :4].contiguous() if "lora_A" in key else value for key, value in weights.items()}
    safetensors.torch.save_file(cut, Path(film.source, film.files[0].weight_name))
    plain = render(engine, wan22)
    with pytest.raises(TaskFailed, match="the adapter film cannot be used") as failed:
        render(engine, wan22, AdapterUse(film, 1.0))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
    assert render(engine, wan22) == plain
    assert render(engine, wan22, AdapterUse(grain, 1.0)) != plain


def test_an_adapter_for_a_second_expert_is_refused_by_a_model_of_one(engine, tiny_wan, tmp_path):
    adapter = write_adapter(tmp_path / "low", tiny_wan, "low")
    file = AdapterFile(weight_name=adapter.files[0].weight_name, component="transformer_2")
    with pytest.raises(TaskFailed, match="the adapter low is for transformer_2, which the model does not have"):
        render(engine, tiny_wan, AdapterUse(adapter.model_copy(update={"files": (file,)}), 1.0))


def test_a_pickle_with_the_name_of_a_safetensors_file_is_not_read(engine, wan22, film):
    torch.save(lora_weights(wan22, "transformer", 10), Path(film.source, film.files[0].weight_name))
    with pytest.raises(TaskFailed, match=r"is not a safetensors file|broken header"):
        render(engine, wan22, AdapterUse(film, 1.0))


def test_a_missing_file_is_named(engine, wan22, film):
    Path(film.source, film.files[1].weight_name).unlink()
    with pytest.raises(TaskFailed, match=r"the adapter film has no file .*film-transformer_2\.safetensors"):
        render(engine, wan22, AdapterUse(film, 1.0))


def test_the_blocks_of_a_set_are_compiled_when_the_entry_says_so(engine, wan22, film):
    """Compiling itself, at the first call, takes most of a minute on a CPU and is left out."""
    compiled = wan22.model_copy(update={"compile_blocks": True})
    weights = engine.load(compiled, device="cpu", stop=NullObserver().stop)
    found = pipeline_for(compiled, weights, device="cpu")
    adapted = with_adapters(found, weights, find_parts(compiled, [AdapterUse(film, 1.0)], offline=True), device="cpu")
    assert all(block._compiled_call_impl is not None for block in adapted.pipeline.transformer.blocks)
