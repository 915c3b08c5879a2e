"""The built-in entries beside the pipelines of the installed diffusers; their weights are not here to be loaded."""

import inspect

import diffusers
import pytest

from phoenix.catalog.model import load_catalog
from phoenix.engine.backends.diffusers.calling import LOADER_OPTIONS

PIPELINES = {
    "wan-2.1-t2v-1.3b": "WanPipeline",
    "wan-2.1-t2v-14b": "WanPipeline",
    "wan-2.2-t2v-a14b": "WanPipeline",
    "wan-2.2-ti2v-5b": "WanPipeline",
    "wan-2.1-i2v-14b-480p": "WanImageToVideoPipeline",
    "wan-2.1-i2v-14b-720p": "WanImageToVideoPipeline",
    "wan-2.2-i2v-a14b": "WanImageToVideoPipeline",
    "ltx-video": "LTXPipeline",
    "ltx-video-i2v": "LTXImageToVideoPipeline",
    "hunyuanvideo": "HunyuanVideoPipeline",
    "hunyuanvideo-i2v": "HunyuanVideoImageToVideoPipeline",
    "cogvideox-2b": "CogVideoXPipeline",
    "cogvideox-5b": "CogVideoXPipeline",
    "cogvideox-5b-i2v": "CogVideoXImageToVideoPipeline",
}
"""What the `model_index.json` of each source names, or the entry itself."""


@pytest.fixture(params=PIPELINES)
def entry(request: pytest.FixtureRequest):
    return load_catalog().get(request.param)


@pytest.fixture
def parameters(entry):
    return inspect.signature(getattr(diffusers, PIPELINES[entry.id]).__call__).parameters


def test_every_option_is_one_that_the_pipeline_takes(entry, parameters):
    assert set(entry.options) - LOADER_OPTIONS <= set(parameters)


def test_an_image_is_taken_where_the_pipeline_takes_one(entry, parameters):
    assert entry.takes_image == ("image" in parameters)
