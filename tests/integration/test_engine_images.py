"""Image to video on tiny pipelines: the first frame counts, in its own proportions, and a bad one is told."""

from pathlib import Path

import pytest
from PIL import Image

from fixtures.engine_clips import from_picture, tensors_alive
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip, stopping_at
from fixtures.tiny_pipelines import IMAGE_KINDS, TinyPipelines, tiny_spec
from fixtures.turnstile import BlockCounter, inner_blocks
from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import FailureCode, TaskFailed


@pytest.fixture(scope="module")
def engine():
    engine = OpenEngine()
    yield engine
    engine.close()


@pytest.fixture(params=IMAGE_KINDS)
def model(request: pytest.FixtureRequest, tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec(request.param, tiny_pipelines(request.param), tmp_path)


def test_a_clip_begins_from_the_picture_that_it_is_given(engine, model, first_frame, tmp_path):
    Image.new("RGB", (90, 50), (10, 200, 10)).save(tmp_path / "other.png")
    recorder = Recorder()
    red = digest(engine.render(from_picture(model, first_frame), recorder))
    green = digest(engine.render(from_picture(model, tmp_path / "other.png"), NullObserver()))
    assert red != green
    assert recorder.steps == [(1, 2), (2, 2)]
    assert digest(engine.render(from_picture(model, first_frame), NullObserver())) == red


def test_a_stop_in_the_middle_leaves_no_trace_in_the_next_clip(engine, model, first_frame):
    inputs = from_picture(model, first_frame, steps=5)
    before = digest(engine.render(inputs, NullObserver()))
    with pytest.raises(RenderStopped):
        engine.render(inputs, stopping_at(2))
    assert digest(engine.render(inputs, NullObserver())) == before


def test_a_stop_in_the_encoding_of_the_picture_takes_effect_at_the_next_block_and_leaves_nothing_behind(
    engine, model, first_frame
):
    inputs, recorder = from_picture(model, first_frame), Recorder()
    before = digest(engine.render(inputs, NullObserver()))
    loaded = next(load for load in reversed(engine.loads) if load.model.id == model.id)
    counter = BlockCounter(inner_blocks(loaded.pipeline.vae.encoder), recorder)
    counter.reset(stop_in=3)
    alive = tensors_alive()
    with pytest.raises(RenderStopped):
        engine.render(inputs, recorder)
    assert counter.entered == 3
    assert tensors_alive() == alive
    counter.remove()
    assert digest(engine.render(inputs, NullObserver())) == before


def test_a_picture_that_cannot_be_read_is_the_callers_affair(engine, model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much of one")
    with pytest.raises(TaskFailed, match="a picture of the clip cannot be read") as failed:
        engine.render(from_picture(model, tmp_path / "broken.png"), NullObserver())
    assert (failed.value.code, failed.value.retriable) == (FailureCode.MEDIA_INVALID, False)


def test_the_folder_of_a_text_model_is_opened_with_the_class_that_the_entry_names(engine, tiny_pipelines, tmp_path):
    text, image = (tiny_spec(kind, tiny_pipelines(kind), tmp_path) for kind in ("ltx", "ltx_i2v"))
    assert text.source == image.source
    loads = [engine.load(model, device="cpu", stop=NullObserver().stop) for model in (text, image)]
    assert [type(loaded.pipeline).__name__ for loaded in loads] == ["LTXPipeline", "LTXImageToVideoPipeline"]


@pytest.mark.parametrize("name", ["NoSuchPipeline", "AutoencoderKLWan", "utils"])
def test_a_class_that_is_no_pipeline_of_diffusers_is_refused(engine, tiny_wan, name):
    with pytest.raises(TaskFailed, match=f"diffusers has no pipeline '{name}'") as failed:
        engine.render(
            ClipInputs(make_clip(), tiny_wan.model_copy(update={"id": name, "pipeline": name})), NullObserver()
        )
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
