"""Offloading, LoRA, step caches and compiled blocks on a real, tiny pipeline."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from fixtures.engine_clips import furthest, pixels
from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip, stopping_at
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Lora, StepCache
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import FailureCode, TaskFailed

CLIP = make_clip(steps=8)

Variant = Callable[..., ModelSpec]


@pytest.fixture
def engine():
    engine = OpenEngine()
    yield engine
    engine.close()


@pytest.fixture
def variant(tiny_wan: ModelSpec) -> Variant:
    return lambda **fields: tiny_wan.model_copy(update={"id": f"tiny-wan-{len(fields)}", **fields})


@pytest.fixture
def lora(tiny_wan: ModelSpec, tmp_path: Path) -> Path:
    """A small LoRA for tiny Wan with a strong effect."""
    import diffusers  # noqa: PLC0415
    from peft import LoraConfig  # noqa: PLC0415
    from peft.utils import get_peft_model_state_dict  # noqa: PLC0415

    transformer = diffusers.WanTransformer3DModel.from_pretrained(tiny_wan.source, subfolder="transformer")
    transformer.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k"]))
    torch.manual_seed(3)
    for name, parameter in transformer.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter)
    layers = get_peft_model_state_dict(transformer)
    diffusers.WanPipeline.save_lora_weights(tmp_path / "lora", transformer_lora_layers=layers)
    return tmp_path / "lora" / "pytorch_lora_weights.safetensors"


@pytest.fixture
def tiny_wan22(tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    """Two experts: the first makes the early steps, the second the late ones."""
    return tiny_spec("wan22", tiny_pipelines("wan22"), tmp_path)


def weights_of(engine: OpenEngine, model: ModelSpec, name: str) -> torch.Tensor:
    """Those of the first layer that the LoRA changes."""
    loaded = engine.load(model, device="cpu", stop=NullObserver().stop)
    return loaded.pipeline.components[name].blocks[0].attn1.to_q.weight.clone()


@pytest.mark.parametrize(
    ("component", "changed"),
    [
        ("transformer", ["transformer"]),
        ("transformer_2", ["transformer_2"]),
        ("both", ["transformer", "transformer_2"]),
    ],
)
def test_a_lora_reaches_the_expert_that_it_belongs_to_and_no_other(engine, tiny_wan22, lora, component, changed):
    styled = tiny_wan22.model_copy(update={"loras": (Lora(source=str(lora), component=component),)})
    names = ("transformer", "transformer_2")
    moved = [n for n in names if not torch.equal(weights_of(engine, styled, n), weights_of(engine, tiny_wan22, n))]
    assert moved == changed


def test_two_loras_each_reach_their_own_expert(engine, tiny_wan22, lora):
    def weights(*components: Any) -> list[torch.Tensor]:
        loras = tuple(Lora(source=str(lora), component=component) for component in components)
        model = tiny_wan22.model_copy(update={"loras": loras})
        return [weights_of(engine, model, name) for name in ("transformer", "transformer_2")]

    pair, both = weights("transformer", "transformer_2"), weights("both")
    assert all(map(torch.equal, pair, both))


@pytest.mark.parametrize(
    ("kind", "component", "complaint"),
    [
        ("wan22", None, "it has two experts: say to which component the LoRA .* belongs"),
        ("wan", "transformer_2", "it has one expert: the LoRA .* cannot belong to transformer_2"),
    ],
)
def test_a_lora_that_would_change_half_of_a_clip_is_refused(
    engine, tiny_pipelines, tmp_path, lora, kind, component, complaint
):
    model = tiny_spec(kind, tiny_pipelines(kind), tmp_path)
    with pytest.raises(TaskFailed, match=complaint):
        render(engine, model.model_copy(update={"loras": (Lora(source=str(lora), component=component),)}))


def render(engine: OpenEngine, model: ModelSpec) -> str:
    return digest(engine.render(ClipInputs(CLIP, model), NullObserver()))


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_weights_make_the_same_clip_again_and_again(engine, variant, offload):
    plain = render(engine, variant())
    offloaded = variant(offload=offload)
    assert [render(engine, offloaded), render(engine, offloaded)] == [plain, plain]


def test_a_lora_changes_the_clip_and_its_scale_how_much(engine, variant, lora):
    plain = pixels(engine.render(ClipInputs(CLIP, variant()), NullObserver()))
    distances = []
    for scale in (0.0, 0.2, 1.0):
        engine.close()
        styled = variant(loras=(Lora(source=str(lora), scale=scale),))
        distances.append(furthest(pixels(engine.render(ClipInputs(CLIP, styled), NullObserver())), plain))
    assert distances[0] <= 1 < min(distances[1:])
    assert distances[1] != distances[2]


def test_a_fused_lora_leaves_plain_weights_that_calls_share(engine, variant, lora):
    styled = variant(loras=(Lora(source=str(lora)),))
    alone = render(engine, styled)
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: render(engine, styled), range(6))) == {alone}


@pytest.mark.parametrize("source", ["the file", "its folder", "its folder and name"])
def test_a_valid_lora_in_a_pickle_is_not_loaded(engine, variant, lora, source):
    pickled = lora.with_suffix(".bin")
    torch.save(safetensors.torch.load_file(lora), pickled)
    lora.unlink()
    entry = {
        "the file": Lora(source=str(pickled)),
        "its folder": Lora(source=str(pickled.parent)),
        "its folder and name": Lora(source=str(pickled.parent), weight_name=pickled.name),
    }
    with pytest.raises(TaskFailed, match="cannot be used") as failed:
        render(engine, variant(loras=(entry[source],)))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    "fields",
    [
        {"loras": (Lora(source="/nowhere", weight_name="style.safetensors"),)},
        {"step_cache": StepCache(kind="first_block"), "pipeline": "LTXPipeline"},
    ],
)
def test_an_option_that_cannot_be_applied_is_named(engine, variant, fields):
    with pytest.raises(TaskFailed) as failed:
        render(engine, variant(**fields))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


CACHES = [StepCache(kind="first_block", threshold=0.5), StepCache(kind="taylor_seer", interval=2)]


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.kind)
def test_a_step_cache_acts_and_a_stopped_clip_leaves_nothing_in_it(engine, variant, cache):
    cached = variant(step_cache=cache)
    before = render(engine, cached)
    assert before != render(engine, variant())
    with pytest.raises(RenderStopped):
        engine.render(ClipInputs(CLIP, cached), stopping_at(4))
    assert render(engine, cached) == before


def test_calls_of_a_model_with_a_step_cache_run_one_at_a_time(engine, variant):
    cached = variant(step_cache=CACHES[0])
    alone = render(engine, cached)
    inside, most, lock = 0, 0, threading.Lock()

    def count(change: int) -> None:
        nonlocal inside, most
        with lock:
            inside += change
            most = max(most, inside)

    text_encoder = engine.loads[-1].pipeline.text_encoder
    text_encoder.register_forward_pre_hook(lambda *_: count(1))
    text_encoder.register_forward_hook(lambda *_: count(-1))
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: render(engine, cached), range(8))) == {alone}
    assert most == 1


def test_the_limit_of_a_model_on_its_calls_applies(engine, variant):
    bounded = variant(concurrency=1)
    running, lock, seen = 0, threading.Lock(), []

    class Counting(NullObserver):
        def on_step(self, step: int, steps: int) -> None:
            nonlocal running
            with lock:
                running += step == 1
                seen.append(running)
                running -= step == steps

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: engine.render(ClipInputs(CLIP, bounded), Counting()), range(4)))
    assert set(seen) == {1}


def test_blocks_are_compiled_one_by_one_when_the_entry_says_so(engine, variant):
    """Compiling itself, at the first call, takes most of a minute on a CPU and is left out."""
    compiled = variant(compile_blocks=True)
    plain = engine.load(compiled, device="cpu", stop=NullObserver().stop).pipeline.transformer
    transformer = engine.pipeline_of(compiled).transformer
    assert all(block._compiled_call_impl is not None for block in transformer.blocks)
    assert transformer._compiled_call_impl is None
    assert all(block._compiled_call_impl is None for block in plain.blocks)
