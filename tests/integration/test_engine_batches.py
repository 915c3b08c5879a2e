"""Clips that share a call: as good as alone, whoever else is in it, and whoever leaves it."""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.engine_clips import BATCH_TOLERANCE, furthest, pixels, requests_of, run_out_of_memory, trio
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, make_clip, stopping_at
from fixtures.tiny_pipelines import KINDS, TinyPipelines, tiny_spec
from fixtures.video_classes.folders import write_folder
from fixtures.video_classes.wan import wan_vace
from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import ClipInputs, NullObserver, RenderRequest
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings


@pytest.fixture(scope="module")
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec(request.param, tiny_pipelines(request.param), tmp_path)


def alone(engine: OpenEngine, all_inputs: Sequence[ClipInputs]) -> list[np.ndarray]:
    return [pixels(engine.render(inputs, NullObserver())) for inputs in all_inputs]


def together(engine: OpenEngine, requests: Sequence[RenderRequest]) -> list[np.ndarray]:
    engine.render_batch(requests)
    return [pixels(request.result()) for request in requests]


def rows_per_forward(engine: OpenEngine, model: ModelSpec) -> list[int]:
    """The first dimension of what each pass of the transformer is given, from now on."""
    engine.render(ClipInputs(make_clip(), model), NullObserver())
    rows: list[int] = []
    transformer = next(load for load in reversed(engine.loads) if load.model.id == model.id).pipeline.transformer
    transformer.register_forward_pre_hook(
        lambda _module, _args, named: rows.append(named["hidden_states"].shape[0]), with_kwargs=True
    )
    return rows


def test_a_shared_call_makes_each_clip_as_it_would_be_alone(engine, model):
    all_inputs = trio(model, steps=3)
    requests = requests_of(all_inputs)
    made = together(engine, requests)
    assert max(map(furthest, made, alone(engine, all_inputs))) <= BATCH_TOLERANCE
    assert [request.result().batch_size for request in requests] == [3, 3, 3]
    assert furthest(made[0], made[2]) > 10 * BATCH_TOLERANCE


def test_every_clip_of_a_call_observes_its_stages_and_steps(engine, model):
    recorders = [Recorder() for _ in range(3)]
    engine.render_batch(requests_of(trio(model, steps=2), recorders))
    for recorder in recorders:
        assert recorder.stages == [Stage.LOAD, Stage.TEXT, Stage.DENOISE, Stage.DECODE]
        assert recorder.steps == [(1, 2), (2, 2)]


def test_a_clip_that_is_stopped_leaves_the_others_as_they_would_be_alone(engine, model):
    all_inputs = trio(model, steps=4)
    recorders = [Recorder(), stopping_at(2), Recorder()]
    requests = requests_of(all_inputs, recorders)
    engine.render_batch(requests)
    with pytest.raises(RenderStopped):
        requests[1].result()
    assert recorders[1].steps[-1] == (2, 4)
    left = [pixels(requests[index].result()) for index in (0, 2)]
    assert max(map(furthest, left, alone(engine, [all_inputs[0], all_inputs[2]]))) <= BATCH_TOLERANCE


def test_the_rows_of_a_stopped_clip_are_taken_out_of_a_running_call(engine, tiny_wan):
    rows = rows_per_forward(engine, tiny_wan)
    engine.render_batch(requests_of(trio(tiny_wan, steps=4), [stopping_at(2), Recorder(), Recorder()]))
    assert rows == [3, 3, 3, 3, 2, 2, 2, 2]


def test_a_call_whose_clips_are_all_stopped_ends(engine, tiny_wan):
    rows = rows_per_forward(engine, tiny_wan)
    requests = requests_of(trio(tiny_wan, steps=50), [stopping_at(1), stopping_at(2), stopping_at(3)])
    engine.render_batch(requests)
    for request in requests:
        with pytest.raises(RenderStopped):
            request.result()
    assert len(rows) <= 6


def test_a_call_that_is_too_large_is_made_in_halves_and_remembered_as_such(tiny_wan):
    engine = OpenEngine()
    all_inputs = trio(tiny_wan)
    expected = alone(engine, all_inputs)
    rows = rows_per_forward(engine, tiny_wan)
    refuse_batches(engine, tiny_wan, more_than=1)
    requests = requests_of(all_inputs)
    made = together(engine, requests)
    assert max(map(furthest, made, expected)) == 0
    assert [request.result().batch_size for request in requests] == [1, 1, 1]
    assert rows[:2] == [3, 2]
    rows.clear()
    together(engine, requests_of(all_inputs))
    assert max(rows) == 1
    engine.close()


def test_batches_that_fail_where_their_clips_succeed_are_not_tried_for_ever(tiny_wan):
    engine = OpenEngine(preview_interval_s=0)
    all_inputs = trio(tiny_wan)
    alone(engine, all_inputs[:1])
    rows = rows_per_forward(engine, tiny_wan)

    def fail() -> None:
        raise RuntimeError("no kernel for this")

    refuse_batches(engine, tiny_wan, more_than=1, error=fail)
    for expected in ([3, 2, 1], [1]):
        rows.clear()
        together(engine, requests_of(all_inputs))
        assert list(dict.fromkeys(rows)) == expected
    engine.close()


def test_a_class_that_takes_one_clip_per_call_is_remembered_as_such(tiny_wan, tmp_path):
    folder = write_folder("WanVACEPipeline", wan_vace(), tmp_path / "vace")
    model = tiny_wan.model_copy(update={"id": "vace", "source": str(folder)})
    engine = OpenEngine(preview_interval_s=0)
    for expected in ([3, 2, 1, 1, 1], [1, 1, 1]):
        calls = count_calls(engine, model)
        requests = requests_of(trio(model, steps=1))
        engine.render_batch(requests)
        assert all(request.has_succeeded for request in requests)
        assert calls == expected
    engine.close()


def count_calls(engine: OpenEngine, model: ModelSpec) -> list[int]:
    """The clips of each call, from now on."""
    engine.render(ClipInputs(make_clip(steps=1), model), NullObserver())
    pipeline = engine.loads[-1].pipeline
    calls: list[int] = []
    plain = type(pipeline).__mro__[1] if type(pipeline).__name__ == "Counted" else type(pipeline)

    class Counted(plain):
        @functools.wraps(plain.__call__)
        def __call__(self, prompt: Any, **arguments: Any) -> Any:
            calls.append(1 if isinstance(prompt, str) else len(prompt))
            return super().__call__(prompt=prompt, **arguments)

    pipeline.__class__ = Counted
    return calls


def refuse_batches(
    engine: OpenEngine, model: ModelSpec, *, more_than: int, error: Callable[[], object] = run_out_of_memory
) -> None:
    def check(_module: Any, _args: Any, named: dict[str, Any]) -> None:
        if named["hidden_states"].shape[0] > more_than:
            error()

    loaded = next(load for load in reversed(engine.loads) if load.model.id == model.id)
    loaded.pipeline.transformer.register_forward_pre_hook(check, with_kwargs=True)


def test_an_error_that_one_clip_brings_fails_that_clip_alone(tiny_wan):
    engine = OpenEngine()
    all_inputs = trio(tiny_wan)
    expected = alone(engine, all_inputs)
    tokenizer = engine.loads[0].pipeline.tokenizer
    plain = tokenizer.__class__

    class Picky(plain):
        def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
            if any("fox" in line for line in text):
                raise ValueError("no foxes")
            return super().__call__(text, *args, **kwargs)

    tokenizer.__class__ = Picky
    requests = requests_of(all_inputs)
    engine.render_batch(requests)
    with pytest.raises(TaskFailed, match="no foxes") as failed:
        requests[1].result()
    assert failed.value.code is FailureCode.ENGINE_FAILED
    left = [pixels(requests[index].result()) for index in (0, 2)]
    assert max(map(furthest, left, [expected[0], expected[2]])) <= BATCH_TOLERANCE
    engine.close()


def test_a_clip_of_values_that_are_not_numbers_fails_alone(engine, tiny_wan):
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    loaded = next(load for load in reversed(engine.loads) if load.model.id == tiny_wan.id)

    def spoil(_module: Any, _args: Any, result: Any) -> Any:
        if result[0].shape[0] == 3:
            result[0][1] = torch.nan
        return result

    handle = loaded.pipeline.transformer.register_forward_hook(spoil)
    requests = requests_of(trio(tiny_wan))
    engine.render_batch(requests)
    handle.remove()
    with pytest.raises(TaskFailed, match="not numbers"):
        requests[1].result()
    assert not any(isinstance(requests[index].result(), Exception) for index in (0, 2))


def test_clips_of_several_jobs_join_one_call_through_the_engines(tiny_wan):
    engines = EngineRegistry(
        engine=EngineSettings(max_batch_size=3, batch_window_s=30), animatic=AnimaticSettings(), device="cpu"
    )
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda inputs: engines.render(inputs, NullObserver()), trio(tiny_wan)))
    assert [rendered.batch_size for rendered in made] == [3, 3, 3]
    deterministic = make_clip(deterministic=True)
    assert engines.render(ClipInputs(deterministic, tiny_wan), NullObserver()).batch_size == 1
    engines.close()
