"""What an entry says about how its model is held and run."""

import pytest
from pydantic import ValidationError

from phoenix.catalog.model import BatchRule, ModelSpec, StepCache, load_catalog

WAN = load_catalog().get("wan-2.1-t2v-1.3b")


def changed(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate(WAN.model_dump() | fields)


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
    assert {model.needs_image for model in found} == {True, False}
