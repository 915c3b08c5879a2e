"""Blocks that are really compiled: by TorchDynamo, whose graphs are then run as they are (a compiler takes minutes)."""

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch

from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip
from fixtures.turnstile import BlockCounter
from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopToken
from phoenix.settings import AnimaticSettings, EngineSettings
from phoenix.worker.warmup import trial_clips, warm_up


@pytest.fixture
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch):
    """Every graph that is handed to the compiler: one more for each break in a block, and for each recompilation."""
    compiled: list[Any] = []
    compile_blocks = diffusers.WanTransformer3DModel.compile_repeated_blocks

    def run_as_it_is(graph: Any, _inputs: Any) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(
        diffusers.WanTransformer3DModel,
        "compile_repeated_blocks",
        lambda self, **named: compile_blocks(self, **named, backend=run_as_it_is),
    )
    torch.compiler.reset()
    yield compiled
    torch.compiler.reset()


@pytest.fixture
def compiled_wan(tiny_wan: ModelSpec, graphs: list[Any]) -> ModelSpec:
    return tiny_wan.model_copy(update={"id": "compiled-wan", "compile_blocks": True})


def test_all_blocks_of_all_clips_of_one_shape_share_one_graph_and_make_the_same_clips(
    engine, tiny_wan, compiled_wan, graphs
):
    for clip in (make_clip(), make_clip(seed=8, guidance_scale=3.0), make_clip(prompt="a cat", steps=4)):
        plain, compiled = (ClipInputs(clip, model) for model in (tiny_wan, compiled_wan))
        assert digest(engine.render(compiled, Recorder())) == digest(engine.render(plain, NullObserver()))
        assert len(graphs) == 1


def test_a_stop_within_a_step_takes_effect_at_the_next_compiled_block(engine, compiled_wan, graphs):
    inputs, recorder = ClipInputs(make_clip(), compiled_wan), Recorder()
    before = digest(engine.render(inputs, NullObserver()))
    transformer = engine.pipeline_of(compiled_wan).transformer
    ahead, behind = (
        BlockCounter([transformer.condition_embedder], recorder),
        BlockCounter([transformer.proj_out], recorder),
    )
    ahead.reset(stop_in=2)
    with pytest.raises(RenderStopped):
        engine.render(inputs, recorder)
    assert (ahead.entered, behind.entered) == (2, 1)
    ahead.remove()
    behind.remove()
    assert digest(engine.render(inputs, NullObserver())) == before
    assert len(graphs) == 1


def test_a_warmed_up_model_compiles_nothing_for_a_clip_of_any_shape(engine, compiled_wan, graphs):
    engines = EngineRegistry(
        engine=EngineSettings(), animatic=AnimaticSettings(), device="cpu", opened={"diffusers": engine}
    )
    warm_up(engines, compiled_wan, StopToken())
    assert len(graphs) == 2
    for shape in ({"width": 128}, {"num_frames": 17}, {"width": 96, "height": 128, "num_frames": 21}):
        engine.render(ClipInputs(make_clip(steps=1, **shape), compiled_wan), NullObserver())
    assert len(graphs) == 2


def test_only_a_model_with_compiled_blocks_has_a_second_trial_clip(tiny_wan):
    compiled = tiny_wan.model_copy(update={"compile_blocks": True})
    assert [clip.num_frames for clip in trial_clips(tiny_wan)] == [9]
    assert [clip.num_frames for clip in trial_clips(compiled)] == [9, 13]
