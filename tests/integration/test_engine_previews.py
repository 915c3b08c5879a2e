"""Previews from the real latents of each model family, after its first clip."""

from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from fixtures.engine_clips import requests_of, trio
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, make_clip, stopping_at
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.latent_previews import ColourMaps
from phoenix.engine.interface import ClipInputs, NullObserver

LATENTS = {
    "wan": (16, 5, 8, 16),
    "ltx": (8, 5, 16, 32),
    "cogvideox": (4, 5, 8, 16),
    "hunyuan": (4, 5, 8, 16),
}
"""Channels, frames, height and width in the VAE of each tiny pipeline, of a clip of 17 frames of 128x64."""


class RecordedMaps(ColourMaps):
    """Remembers the shapes of what it was to learn from, and can forget all."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        self.learned = ColourMaps()
        self.shapes: list[tuple[int, ...]] = []

    def find(self, model_id: str) -> torch.Tensor | None:
        return self.learned.find(model_id)

    def learn(self, model_id: str, grid: torch.Tensor, video: torch.Tensor) -> None:
        self.shapes.append(tuple(grid.shape))
        self.learned.learn(model_id, grid, video)


@pytest.fixture(scope="module")
def all_maps() -> RecordedMaps:
    return RecordedMaps()


@pytest.fixture(scope="module")
def loaded(all_maps: RecordedMaps):
    engine = OpenEngine(preview_interval_s=0.0001, maps=all_maps)
    yield engine
    engine.close()


@pytest.fixture
def maps(all_maps: RecordedMaps) -> RecordedMaps:
    """Of `engine`; nothing is learned yet."""
    all_maps.forget()
    return all_maps


@pytest.fixture
def engine(loaded: OpenEngine, maps: RecordedMaps) -> OpenEngine:
    """It has learned nothing yet."""
    assert maps.shapes == []
    return loaded


@pytest.fixture(params=LATENTS)
def model(request: pytest.FixtureRequest, tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec(request.param, tiny_pipelines(request.param), tmp_path)


def test_previews_come_from_the_second_clip_of_a_model_on(engine, model):
    first, second = Recorder(), Recorder()
    for recorder in (first, second):
        engine.render(ClipInputs(make_clip(width=128, steps=4), model), recorder)
    assert first.previews == []
    assert len(set(second.previews)) == 4
    assert {Image.open(BytesIO(picture)).size for picture in second.previews} == {(192, 96)}


def test_a_map_is_fitted_to_the_channels_of_the_latents(engine, maps, model):
    engine.render(ClipInputs(make_clip(width=128, num_frames=17), model), NullObserver())
    assert maps.shapes == [LATENTS[model.id.removeprefix("tiny-")]]


@pytest.mark.parametrize("kind", ["wan", "ltx"])
def test_a_map_is_fitted_to_one_clip_although_the_first_clip_of_the_call_was_stopped(
    engine, maps, kind, tiny_pipelines, tmp_path
):
    model = tiny_spec(kind, tiny_pipelines(kind), tmp_path)
    all_inputs = trio(model, num_frames=17)
    engine.render_batch(requests_of(all_inputs, [stopping_at(2), Recorder(), Recorder()]))
    learned, alone = maps.find(model.id), []
    for inputs in all_inputs[:2]:
        maps.forget()
        engine.render(inputs, NullObserver())
        alone.append(maps.find(model.id))
    of_the_stopped, of_the_next = (float((learned - found).abs().max()) for found in alone)
    assert of_the_next < 1e-5
    assert of_the_stopped > 1e-3
