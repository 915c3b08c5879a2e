"""What a modular class of diffusers takes, and the arguments that some of them want in a form of their own."""

import math
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest

from fixtures.renders import make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec, exact_steps
from phoenix.catalog.rules import ConditionRule
from phoenix.engine.backends.diffusers.classes.guidance import guider_options
from phoenix.engine.backends.diffusers.classes.pipeline_class import check_fits
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names, default_of, required_names
from phoenix.engine.backends.diffusers.classes.special_arguments import check_steps, special_arguments, stages_of
from phoenix.errors import TaskFailed

STAGES = "pyramid_num_inference_steps_list"


def entry(**changes: Any) -> ModelSpec:
    plain = {"options": {}, "conditions": {}, "negative_prompt": None, "makes_sound": False}
    return load_catalog().get("ltx-video").model_copy(update=plain | changes)


def test_the_arguments_of_a_modular_class_are_the_inputs_of_its_blocks():
    assert {"prompt", "num_frames", "output_type"} <= accepted_names(diffusers.Wan22VaceModularPipeline)
    assert default_of(diffusers.Wan22VaceModularPipeline, "conditioning_scale") == 1
    assert required_names(diffusers.WanAnimate2ModularPipeline) == ["prompt", "image", "driving_video"]
    assert "latents" not in required_names(diffusers.LTX2ModularPipeline)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("WanAnimate2ModularPipeline", r"needs 'image'.*conditions\.reference\.minimum = 1"),
        ("Wan22Image2VideoModularPipeline", r"needs 'image'.*conditions\.first_frame\.minimum = 1"),
        ("WanImage2VideoModularPipeline", r"needs 'image'.*conditions\.first_frame\.minimum = 1"),
    ],
)
def test_a_modular_class_without_what_it_needs_is_refused_with_the_role_to_set(name, complaint):
    with pytest.raises(TaskFailed, match=complaint):
        check_fits(entry(), getattr(diffusers, name))


def test_a_role_that_a_modular_class_does_not_take_is_refused():
    model = entry(conditions={"mask": ConditionRule(minimum=1)})
    with pytest.raises(TaskFailed, match="WanModularPipeline takes no mask"):
        check_fits(model, diffusers.WanModularPipeline)


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        (diffusers.Wan22ModularPipeline, "guidance_scale_2"),
        (diffusers.LTX2ModularPipeline, "audio_guidance_scale"),
        (diffusers.LTX2ModularPipeline, "stg_scale"),
    ],
)
def test_the_settings_of_guiders_are_options_under_the_names_of_the_plain_classes(kind, option):
    check_fits(entry(options={option: 2.0}), kind)
    assert "guidance_scale" not in guider_options(kind)


def test_an_option_that_no_block_and_no_guider_has_is_refused():
    with pytest.raises(TaskFailed, match="WanModularPipeline has no option 'guidance_scale_2'"):
        check_fits(entry(options={"guidance_scale_2": 2.0}), diffusers.WanModularPipeline)


def pipeline_of(name: str, **config: Any) -> Any:
    """An object of the class without components; `config` is what its folder would set."""
    pipeline = getattr(diffusers, name)()
    pipeline.register_to_config(**config)
    return pipeline


@pytest.mark.parametrize(("width", "height"), [(832, 480), (480, 832), (1280, 720), (720, 720), (1088, 624), (64, 96)])
def test_wan_animate_2_resolves_the_area_that_it_is_given_to_the_size_of_the_clip(width, height):
    clip = make_clip(width=width, height=height)
    given = special_arguments(pipeline_of("WanAnimate2ModularPipeline"), clip, {})
    area, proportion = given["width"] * given["height"], height / width
    assert int(math.sqrt(area * proportion)) // 16 * 16 == height
    assert int(math.sqrt(area / proportion)) // 16 * 16 == width


def test_a_size_that_wan_animate_2_cannot_make_is_refused_before_the_first_step():
    with pytest.raises(TaskFailed, match="makes no clips of 72x64: both have to divide by 16"):
        special_arguments(pipeline_of("WanAnimate2ModularPipeline"), make_clip(width=72), {})


@pytest.mark.parametrize(
    ("num_frames", "option", "segment"), [(9, None, 9), (161, None, 81), (161, 41, 41), (9, 41, 9)]
)
def test_a_segment_of_wan_animate_2_is_never_longer_than_its_clip(num_frames, option, segment):
    given = {} if option is None else {"segment_frame_length": option}
    made = special_arguments(pipeline_of("WanAnimate2ModularPipeline"), make_clip(num_frames=num_frames), given)
    assert made["segment_frame_length"] == segment


def test_the_steps_of_a_pyramid_are_spread_over_its_stages():
    made = special_arguments(pipeline_of("HeliosPyramidModularPipeline"), make_clip(steps=8), {STAGES: 8})
    assert made == {STAGES: [3, 3, 2]}
    assert [sum(stages_of(steps, 3)) for steps in (3, 4, 5)] == [3, 4, 5]


def test_the_sigmas_of_an_entry_end_at_zero_for_echo():
    made = special_arguments(pipeline_of("EchoModularPipeline"), make_clip(), {"sigmas": [1.0, 0.5]})
    assert made == {"sigmas": [1.0, 0.5, 0.0]}


@pytest.mark.parametrize(
    ("name", "config", "changes", "complaint"),
    [
        ("EchoModularPipeline", {}, {"steps": exact_steps(4)}, "makes 8 steps"),
        ("HeliosPyramidModularPipeline", {}, {"steps": exact_steps(2)}, r"set steps\.minimum = 3"),
        (
            "HeliosPyramidModularPipeline",
            {},
            {"steps": exact_steps(2), "options": {STAGES: [2, 2, 2]}},
            "makes 6 steps",
        ),
        ("Cosmos3DistilledModularPipeline", {}, {}, "no distilled_sigmas"),
        ("Cosmos3DistilledModularPipeline", {"distilled_sigmas": [1.0]}, {"steps": exact_steps(2)}, "makes 1 steps"),
        ("Cosmos3DistilledModularPipeline", {"distilled_sigmas": [1.0]}, {"steps": exact_steps(1)}, "has no guidance"),
    ],
)
def test_an_entry_with_steps_that_its_pipeline_does_not_make_is_refused(name, config, changes, complaint):
    with pytest.raises(TaskFailed, match=complaint):
        check_steps(entry(**changes), pipeline_of(name, **config))


def test_other_classes_make_the_steps_of_the_request():
    check_steps(entry(steps=exact_steps(5)), pipeline_of("WanModularPipeline"))
    assert special_arguments(SimpleNamespace(), make_clip(), {}) == {}
