"""What an entry says about how its model is held and run."""

import pytest
from pydantic import ValidationError

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import BatchRule
from phoenix.catalog.tuning import StepCache

WAN = load_catalog().get("wan-2.1-t2v-1.3b")


def changed(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate(WAN.model_dump() | {"tiers": {}} | fields)


def test_calls_of_plain_weights_may_share_them():
    assert changed().max_concurrency is None
    assert changed(concurrency=2).max_concurrency == 2


@pytest.mark.parametrize(
    "fields", [{"step_cache": {"kind": "first_block"}}, {"offload": "model"}, {"offload": "group", "concurrency": 3}]
)
def test_calls_whose_state_is_on_the_modules_run_one_at_a_time(fields):
    assert changed(**fields).max_concurrency == 1


def test_a_lora_is_fused_and_so_leaves_plain_weights():
    assert changed(loras=[{"source": "/loras/style.safetensors", "scale": 0.8}]).max_concurrency is None


@pytest.mark.parametrize("fields", [{"offload": "sometimes"}, {"step_cache": {"kind": "tea"}}, {"loras": [{}]}])
def test_an_option_without_meaning_is_refused(fields):
    with pytest.raises(ValidationError):
        changed(**fields)


def test_a_batch_rule_counts_the_first_frame_apart():
    rule = BatchRule(token_px=32, token_frames=8)
    assert rule.tokens(64, 32, 1) == 2
    assert rule.tokens(64, 32, 9) == 4


def test_a_cache_that_skips_no_step_is_none():
    with pytest.raises(ValidationError):
        StepCache(kind="taylor_seer", interval=1)


@pytest.mark.parametrize("family", ["wan-2.1", "wan-2.2", "ltx-video", "hunyuanvideo", "cogvideox"])
def test_each_built_in_family_makes_video_from_text_and_from_a_picture(family):
    found = [model for model in load_catalog() if model.id.startswith(family)]
    assert {bool(model.needed_roles) for model in found} == {True, False}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"options": {"negative_prompt": "blurry"}}, "options.negative_prompt would override what a request says"),
        ({"options": {"num_inference_steps": 4}}, "options.num_inference_steps would override what a request says"),
        ({"options": {"sigmas": [1.0, 0.5]}}, "options.sigmas has 2 values: steps must be that number"),
        ({"negative_prompt": "blurry", "reads_negative_prompt": False}, "without reads_negative_prompt"),
    ],
)
def test_an_entry_that_contradicts_its_requests_is_refused(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        changed(**changes)


def test_an_option_may_be_a_list():
    steps = {"minimum": 2, "maximum": 2, "default": 2}
    model = changed(options={"sigmas": [1, 0.5], "is_fast": True}, steps=steps)
    assert model.options == {"sigmas": [1, 0.5], "is_fast": True}


@pytest.mark.parametrize(("model_id", "options"), [("animatic", {}), ("veo-3.1", {"generate_audio": False})])
def test_an_entry_that_cannot_make_sound_does_not_say_that_it_does(model_id, options):
    spec = load_catalog().get(model_id).model_dump() | {"makes_sound": True, "options": options}
    with pytest.raises(ValidationError, match="leave makes_sound out"):
        ModelSpec.model_validate(spec)


GGUF = {"kind": "gguf", "files": [{"source": "/weights/wan.gguf"}]}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"quantization": {"kind": "int4"}}, "int8"),
        (
            {"quantization": {"kind": "int8", "files": GGUF["files"]}},
            "files has no effect on int8; only gguf",
        ),
        ({"quantization": {"kind": "gguf"}}, "gguf needs files"),
        ({"quantization": {"kind": "int8", "components": []}}, "at least 1 item"),
        ({"quantization": GGUF | {"components": ["text_encoders"]}}, "components has no effect on gguf"),
        ({"quantization": GGUF | {"files": 2 * list(GGUF["files"])}}, "two files for one component"),
        (
            {"quantization": {"kind": "int8"}, "layerwise_casting": "float8_e4m3fn"},
            "quantization and layerwise_casting both change how weights are stored",
        ),
        ({"quantization": "auto", "layerwise_casting": "float8_e4m3fn"}, "choose one"),
        (
            {"quantization": GGUF, "loras": [{"source": "/loras/style"}]},
            "quantization gguf cannot take the LoRA /loras/style into its weights: set is_fused = false",
        ),
        ({"quantization": {"kind": "int8"}, "engine": "animatic"}, "no effect on the engine animatic"),
    ],
)
def test_quantisation_that_cannot_act_is_refused_with_the_reason(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        changed(**changes)


def test_calls_may_share_quantised_weights():
    assert changed(quantization={"kind": "int8"}).max_concurrency is None
    assert changed(quantization=GGUF, loras=[{"source": "/a", "is_fused": False}]).max_concurrency is None
