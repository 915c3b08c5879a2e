"""The arguments of a pipeline call, for the signatures in diffusers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures.renders import make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.engine.backends.diffusers.classes.arguments import call_arguments
from phoenix.engine.backends.diffusers.classes.guidance import set_guidance
from phoenix.engine.backends.diffusers.classes.pipeline_class import check_fits
from phoenix.engine.interface import ClipInputs, ConditionFile
from phoenix.errors import TaskFailed


@dataclass
class PlainPipelineOutput:
    """The classes of this file return their frames in it. The output of a pipeline is known by its module."""

    frames: Any


class PlainPipeline:
    def __call__(self, prompt, negative_prompt, width, height, num_frames, num_inference_steps, generator, output_type):
        """What every family takes."""


class PacedPipeline:
    def __call__(self, prompt, frames, guidance_scale, frame_rate, max_sequence_length, generator, output_type):
        """LTX: conditioned on the frame rate."""


class TemplatePipeline:
    def __call__(self, prompt, num_frames, prompt_template, generator, output_type):
        """HunyuanVideo: the prompt goes into a template."""


class ImagePipeline:
    def __call__(self, prompt, image, num_frames, generator, output_type):
        """Starts from a picture."""


class EasyAnimatePipeline:
    def __call__(self, prompt, num_frames, generator, output_type, negative_prompt=None):
        """Fails without a negative prompt, whatever its default says."""


class WorldPipeline:
    def __call__(self, prompt, video_length, fps, generator, output_type, negative_prompt="ugly"):
        """Has a negative prompt of its own, and other names for frames and frame rate."""


class EditPipeline:
    def __call__(self, video, prompt, num_frames, generator, output_type):
        """Changes a video."""


class SanaWMPipeline:
    def __call__(self, prompt, num_frames, generator, output_type, intrinsics=None):
        """Needs what has a default."""


class StillPipeline:
    def __call__(self, prompt, generator, output_type):
        """Makes one image, not a video."""


FIRST = {"first_frame": ConditionRule()}


def model(**changes: Any) -> ModelSpec:
    return load_catalog().get("ltx-video").model_copy(update={"options": {}, **changes})


def arguments(pipeline: Any, *, options: dict[str, Any] | None = None, **clip: Any) -> dict[str, Any]:
    return call_arguments(pipeline, ClipInputs(make_clip(**clip), model(options=options or {})))


def test_a_pipeline_is_given_only_what_its_signature_names():
    assert set(arguments(PlainPipeline())) == {
        "prompt",
        "width",
        "height",
        "num_frames",
        "num_inference_steps",
        "output_type",
    }


def test_a_pipeline_that_is_conditioned_on_the_frame_rate_receives_it():
    assert arguments(PacedPipeline(), fps=24)["frame_rate"] == 24


def test_frames_and_frame_rate_are_given_under_the_names_of_the_class():
    assert arguments(PacedPipeline(), num_frames=17)["frames"] == 17
    world = arguments(WorldPipeline(), num_frames=17, fps=16)
    assert (world["video_length"], world["fps"]) == (17, 16)


@pytest.mark.parametrize("pipeline", [PlainPipeline(), WorldPipeline()])
def test_without_a_negative_prompt_the_default_of_the_class_applies(pipeline):
    assert "negative_prompt" not in arguments(pipeline)
    assert arguments(pipeline, negative_prompt="blurry")["negative_prompt"] == "blurry"


def test_a_class_that_fails_without_a_negative_prompt_is_given_an_empty_one():
    assert arguments(EasyAnimatePipeline())["negative_prompt"] == ""


def test_an_option_of_the_entry_is_an_argument():
    assert arguments(PacedPipeline(), options={"max_sequence_length": 64})["max_sequence_length"] == 64


def test_options_of_the_loader_are_not_arguments():
    check_fits(model(options={"vae_dtype": "float32", "vae_tiling": True, "flow_shift": 3.0}), PlainPipeline)


def test_a_prompt_template_is_written_as_two_options_and_given_as_one():
    options = {"prompt_template": "{}!", "prompt_crop_start": 3}
    assert arguments(TemplatePipeline(), options=options)["prompt_template"] == {"template": "{}!", "crop_start": 3}


def test_a_first_frame_is_given_in_the_size_of_the_clip(tmp_path: Path):
    Image.new("RGBA", (300, 100), "red").save(tmp_path / "first.png")
    inputs = ClipInputs(make_clip(), model(), (ConditionFile("first_frame", tmp_path / "first.png"),))
    picture = call_arguments(ImagePipeline(), inputs)["image"]
    assert (picture.size, picture.mode) == ((64, 64), "RGB")


@pytest.mark.parametrize(
    ("pipeline", "changes", "complaint"),
    [
        (StillPipeline, {}, "StillPipeline makes no video from text: it has no 'num_frames'"),
        (PlainPipeline, {"conditions": FIRST}, "PlainPipeline takes no first_frame"),
        (PlainPipeline, {"options": {"prompt_template": "{}"}}, "no option 'prompt_template'"),
        (ImagePipeline, {}, "ImagePipeline needs 'image': set conditions.first_frame.minimum"),
        (
            ImagePipeline,
            {"conditions": FIRST},
            "ImagePipeline needs 'image': set conditions.first_frame.minimum",
        ),
        (EditPipeline, {}, "EditPipeline needs 'video': set conditions.source_video.minimum = 1"),
        (SanaWMPipeline, {}, "SanaWMPipeline needs 'intrinsics', which a request cannot give"),
    ],
)
def test_an_entry_that_does_not_fit_its_pipeline_is_refused(pipeline, changes, complaint):
    with pytest.raises(TaskFailed, match=complaint):
        check_fits(model(**changes), pipeline)


def test_guidance_that_sits_in_a_component_is_set_there():
    class Guider:
        def __init__(self, guidance_scale: float) -> None:
            self.guidance_scale = guidance_scale

        def new(self, guidance_scale: float) -> "Guider":
            return Guider(guidance_scale)

    class GuidedPipeline:
        guider = Guider(6.0)

    pipeline = GuidedPipeline()
    set_guidance(pipeline, 2.5, {})
    assert (pipeline.guider.guidance_scale, GuidedPipeline.guider.guidance_scale) == (2.5, 6.0)
