"""The built-in entries beside the pipelines of the installed diffusers; their weights are not here to be loaded."""

import inspect
from typing import Any

import diffusers
import pytest
import torch

from fixtures.video_classes.rows import ROWS, Row
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.contract import ConditionRole
from phoenix.engine.backends.diffusers.classes.arguments import LOADER_OPTIONS
from phoenix.engine.backends.diffusers.classes.pipeline_class import check_fits
from phoenix.engine.backends.diffusers.classes.roles import uses_of

# diffusers itself uses what numpy and torch have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

PIPELINES = {
    "wan-2.1-t2v-1.3b": "WanPipeline",
    "wan-2.1-t2v-14b": "WanPipeline",
    "wan-2.2-t2v-a14b": "WanPipeline",
    "wan-2.2-ti2v-5b": "WanPipeline",
    "wan-2.2-ti2v-5b-i2v": "WanImageToVideoPipeline",
    "wan-2.1-i2v-14b-480p": "WanImageToVideoPipeline",
    "wan-2.1-i2v-14b-720p": "WanImageToVideoPipeline",
    "wan-2.2-i2v-a14b": "WanImageToVideoPipeline",
    "wan-2.1-vace-1.3b": "WanVACEPipeline",
    "wan-2.1-vace-14b": "WanVACEPipeline",
    "wan-2.1-flf2v-14b-720p": "WanImageToVideoPipeline",
    "wan-2.1-v2v-1.3b": "WanVideoToVideoPipeline",
    "wan-2.1-v2v-14b": "WanVideoToVideoPipeline",
    "wan-2.2-animate-14b": "WanAnimatePipeline",
    "wan-2.1-t2v-14b-4-steps": "WanPipeline",
    "wan-2.1-i2v-14b-480p-4-steps": "WanImageToVideoPipeline",
    "wan-2.2-t2v-a14b-4-steps": "WanPipeline",
    "wan-2.2-i2v-a14b-4-steps": "WanImageToVideoPipeline",
    "lucy-edit-dev": "LucyEditPipeline",
    "ltx-video": "LTXPipeline",
    "ltx-video-i2v": "LTXImageToVideoPipeline",
    "ltx-2": "LTX2Pipeline",
    "ltx-2-i2v": "LTX2ImageToVideoPipeline",
    "ltx-video-conditions": "LTXConditionPipeline",
    "ltx-2-conditions": "LTX2ConditionPipeline",
    "ltx-2-two-stage": "LTX2Pipeline",
    "hunyuanvideo": "HunyuanVideoPipeline",
    "hunyuanvideo-i2v": "HunyuanVideoImageToVideoPipeline",
    "hunyuanvideo-1.5-480p-t2v": "HunyuanVideo15Pipeline",
    "hunyuanvideo-1.5-720p-t2v": "HunyuanVideo15Pipeline",
    "hunyuanvideo-1.5-480p-i2v": "HunyuanVideo15ImageToVideoPipeline",
    "hunyuanvideo-1.5-720p-i2v": "HunyuanVideo15ImageToVideoPipeline",
    "cogvideox-2b": "CogVideoXPipeline",
    "cogvideox-5b": "CogVideoXPipeline",
    "cogvideox-5b-i2v": "CogVideoXImageToVideoPipeline",
    "skyreels-v2-df-1.3b-540p": "SkyReelsV2DiffusionForcingPipeline",
    "skyreels-v2-df-14b-540p": "SkyReelsV2DiffusionForcingPipeline",
    "skyreels-v2-df-14b-720p": "SkyReelsV2DiffusionForcingPipeline",
    "skyreels-v2-df-1.3b-540p-i2v": "SkyReelsV2DiffusionForcingImageToVideoPipeline",
    "skyreels-v2-df-14b-540p-i2v": "SkyReelsV2DiffusionForcingImageToVideoPipeline",
    "skyreels-v2-df-14b-720p-i2v": "SkyReelsV2DiffusionForcingImageToVideoPipeline",
    "skyreels-v2-df-1.3b-540p-v2v": "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
    "skyreels-v2-df-14b-540p-v2v": "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
    "skyreels-v2-df-14b-720p-v2v": "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
    "skyreels-v2-t2v-14b-540p": "SkyReelsV2Pipeline",
    "skyreels-v2-t2v-14b-720p": "SkyReelsV2Pipeline",
    "skyreels-v2-i2v-1.3b-540p": "SkyReelsV2ImageToVideoPipeline",
    "skyreels-v2-i2v-14b-540p": "SkyReelsV2ImageToVideoPipeline",
    "skyreels-v2-i2v-14b-720p": "SkyReelsV2ImageToVideoPipeline",
    "mochi-1-preview": "MochiPipeline",
    "kandinsky-5-t2v-lite": "Kandinsky5T2VPipeline",
    "kandinsky-5-t2v-lite-distilled": "Kandinsky5T2VPipeline",
    "kandinsky-5-i2v-pro": "Kandinsky5I2VPipeline",
    "sana-video-2b-480p": "SanaVideoPipeline",
    "sana-video-2b-480p-i2v": "SanaImageToVideoPipeline",
}
"""What the `model_index.json` of each source names, or the entry itself."""

RENDERED = (
    "wan-2.2-ti2v-5b-i2v",
    "wan-2.1-vace-1.3b",
    "wan-2.1-flf2v-14b-720p",
    "wan-2.1-v2v-1.3b",
    "wan-2.2-animate-14b",
    "wan-2.1-t2v-14b-4-steps",
    "lucy-edit-dev",
    "ltx-2",
    "ltx-2-i2v",
    "ltx-video-conditions",
    "ltx-2-conditions",
    "hunyuanvideo-1.5-480p-t2v",
    "hunyuanvideo-1.5-480p-i2v",
    "skyreels-v2-df-1.3b-540p",
    "skyreels-v2-df-1.3b-540p-i2v",
    "skyreels-v2-df-1.3b-540p-v2v",
    "skyreels-v2-t2v-14b-540p",
    "skyreels-v2-i2v-1.3b-540p",
    "mochi-1-preview",
    "kandinsky-5-t2v-lite-distilled",
    "kandinsky-5-i2v-pro",
    "sana-video-2b-480p",
    "sana-video-2b-480p-i2v",
)
"""An entry of each class that no other test renders with the options of its entry."""

OPTIONAL: tuple[tuple[str, tuple[ConditionRole, ...]], ...] = (
    ("wan-2.1-vace-1.3b", ("source_video", "mask", "reference")),
    ("wan-2.1-vace-1.3b", ("control_depth",)),
    ("wan-2.2-animate-14b", ("source_video", "mask")),
    ("ltx-video-conditions", ("first_frame", "last_frame")),
    ("ltx-video-conditions", ("source_video",)),
    ("ltx-2-conditions", ("keyframe", "last_frame")),
    ("ltx-2-conditions", ("source_video", "last_frame")),
    ("skyreels-v2-df-1.3b-540p-i2v", ("last_frame",)),
)
"""Conditions that a clip of an entry may have."""

TARGETS = {"480p": 640, "720p": 960}
"""The side of a square of HunyuanVideo 1.5, in pixels: `target_size` in the folder of each checkpoint."""


@pytest.fixture(params=PIPELINES)
def entry(request: pytest.FixtureRequest) -> ModelSpec:
    return load_catalog().get(request.param)


@pytest.fixture
def parameters(entry):
    return inspect.signature(getattr(diffusers, PIPELINES[entry.id]).__call__).parameters


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from fixtures.video_classes.verdicts import Judge  # noqa: PLC0415 (diffusers takes seconds)

    return Judge(tmp_path_factory.mktemp("entries"))


def test_every_entry_of_diffusers_is_compared_with_its_class():
    assert {model.id for model in load_catalog() if model.engine == "diffusers"} == set(PIPELINES)


def test_every_option_is_one_that_the_pipeline_takes(entry, parameters):
    assert set(entry.options) - LOADER_OPTIONS <= set(parameters)


def test_the_class_of_an_entry_gives_it_what_the_entry_promises(entry):
    check_fits(entry, getattr(diffusers, PIPELINES[entry.id]))


def test_a_first_frame_is_taken_where_the_class_takes_one(entry):
    taken = uses_of(getattr(diffusers, PIPELINES[entry.id]))
    assert ("first_frame" in entry.conditions) == ("first_frame" in taken)


def test_an_entry_over_the_weights_of_another_names_its_own_class(entry):
    first = next(other for other in load_catalog() if other.source == entry.source)
    assert entry.id == first.id or entry.pipeline == PIPELINES[entry.id]


def test_the_distilled_steps_of_wan_are_those_of_euler_at_the_times_of_their_adapter():
    entry = load_catalog().get("wan-2.2-t2v-a14b-4-steps")
    assert entry.scheduler is not None
    settings = {**entry.scheduler.settings, "flow_shift": entry.options["flow_shift"]}
    # So is the scheduler in the folder of Wan.
    folder = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    scheduler = diffusers.UniPCMultistepScheduler.from_config(folder.config, **settings)
    scheduler.set_timesteps(entry.steps.default)
    assert [round(float(time)) for time in scheduler.timesteps] == pytest.approx([1000, 937, 833, 625], abs=2)
    latents, flow = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.25)
    for place, time in enumerate(scheduler.timesteps):
        expected = latents + (scheduler.sigmas[place + 1] - scheduler.sigmas[place]) * flow
        latents = scheduler.step(flow, time, latents, return_dict=False)[0]
        assert torch.allclose(latents, expected, atol=1e-5)


@pytest.mark.parametrize("resolution", TARGETS)
def test_hunyuanvideo_15_keeps_each_size_that_its_entries_offer(resolution):
    from diffusers.pipelines.hunyuan_video1_5.image_processor import (  # noqa: PLC0415
        HunyuanVideo15ImageProcessor,
    )

    choose = HunyuanVideo15ImageProcessor(vae_scale_factor=16).calculate_default_height_width
    size = load_catalog().get(f"hunyuanvideo-1.5-{resolution}-i2v").size
    assert set(size.exact) == {f"{resolution} {ratio}" for ratio in size.aspect_ratios}
    for width, height in size.exact.values():
        assert choose(height, width, TARGETS[resolution]) == (height, width)


@pytest.mark.parametrize("model_id", RENDERED)
def test_a_tiny_pipeline_of_its_class_renders_with_the_options_of_the_entry(model_id, judge):
    row = row_of(model_id)
    assert judge.render_entry(row, load_catalog().get(model_id)) == row.num_frames


@pytest.mark.parametrize(("model_id", "roles"), OPTIONAL)
def test_a_tiny_pipeline_of_its_class_renders_with_the_optional_conditions_of_the_entry(model_id, roles, judge):
    row, entry = row_of(model_id), load_catalog().get(model_id)
    needed = {role: rule.model_copy(update={"minimum": 1}) for role, rule in entry.conditions.items() if role in roles}
    assert len(needed) == len(roles)
    entry = entry.model_copy(update={"conditions": entry.conditions | needed})
    assert judge.render_entry(row, entry) == row.num_frames


def row_of(model_id: str) -> Row:
    return next(row for row in ROWS if row.name == PIPELINES[model_id])
