"""Entries over one source: their weights are in memory once, and each makes its own clips."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fixtures.engine_clips import from_picture
from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism, StepCache
from phoenix.engine.backends.diffusers.shared_weights import weights_key
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import TaskFailed

Entry = Callable[..., ModelSpec]


@pytest.fixture
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture
def ltx(tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec("ltx", tiny_pipelines("ltx"), tmp_path)


@pytest.fixture
def ltx_i2v(tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec("ltx_i2v", tiny_pipelines("ltx_i2v"), tmp_path)


def render(engine: OpenEngine, model: ModelSpec, image: Path | None = None) -> str:
    return digest(
        engine.render(from_picture(model, image) if image else ClipInputs(make_clip(), model), NullObserver())
    )


def test_two_entries_with_two_classes_hold_the_weights_once_and_keep_their_clips(engine, ltx, ltx_i2v, first_frame):
    plain = render(engine, ltx)
    engine.close()
    pictured = render(engine, ltx_i2v, first_frame)
    engine.close()
    engine.loads.clear()
    for _ in range(2):
        assert render(engine, ltx) == plain
        assert render(engine, ltx_i2v, first_frame) == pictured
    assert len(engine.loads) == 1
    assert set(engine.loaded_models()) == {ltx.id, ltx_i2v.id}


def test_entries_that_share_weights_render_at_the_same_time(engine, ltx, ltx_i2v, first_frame):
    calls: list[Any] = [(ltx, None), (ltx_i2v, first_frame)] * 3
    alone = [render(engine, *call) for call in calls[:2]] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda call: render(engine, *call), calls)) == alone


def test_an_entry_that_does_not_fit_is_refused_also_over_weights_that_are_in_memory(engine, ltx):
    render(engine, ltx)
    other = ltx.model_copy(update={"id": "other", "options": {"no_such_option": 1}})
    with pytest.raises(TaskFailed, match="has no option 'no_such_option'"):
        render(engine, other)


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        ({"id": "other", "title": "Other", "options": {"max_sequence_length": 16}}, True),
        ({"pipeline": "LTXImageToVideoPipeline"}, True),
        ({"options": {"flow_shift": 3.0}}, True),
        ({"offload": "never"}, True),
        ({"revision": "main"}, False),
        ({"dtype": "bfloat16"}, False),
        ({"options": {"vae_tiling": True}}, False),
        ({"compile_blocks": True}, True),
        ({"step_cache": StepCache(kind="first_block")}, True),
        ({"attention": "_native_math"}, True),
        ({"layerwise_casting": "float8_e4m3fn"}, False),
        ({"offload": "model"}, False),
        ({"parallelism": Parallelism(context=2)}, False),
    ],
)
def test_entries_share_what_would_be_equal_in_memory(ltx, changes, is_shared):
    assert (weights_key(ltx.model_copy(update=changes)) == weights_key(ltx)) is is_shared


def test_entries_on_several_devices_share_what_their_tiers_leave_alone(ltx):
    shared = ltx.model_copy(update={"parallelism": Parallelism(context=2)})
    assert weights_key(shared.model_copy(update={"options": {"flow_shift": 3.0}})) == weights_key(shared)
    for changes in ({"pipeline": "LTXImageToVideoPipeline"}, {"compile_blocks": True}):
        assert weights_key(shared.model_copy(update=changes)) != weights_key(shared)
