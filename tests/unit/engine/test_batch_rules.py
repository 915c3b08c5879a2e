"""Which clips may share a call, and how many."""

from typing import Any

import pytest

from fixtures.renders import make_clip
from phoenix.catalog.adapters import AdapterFile, AdapterSpec, AdapterUse
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import BatchRule
from phoenix.catalog.tuning import StepCache
from phoenix.engine.batch_rules import halves, key_of, max_batch_size


def model(**changes: Any) -> ModelSpec:
    return load_catalog().get("wan-2.1-t2v-1.3b").model_copy(update=changes)


def most(spec: ModelSpec | None = None, *, limit: int = 8, has_conditions: bool = False, **clip: Any) -> int:
    small = {"width": 448, "height": 256, "num_frames": 17}
    return max_batch_size(make_clip(**(small | clip)), spec or model(), has_conditions=has_conditions, limit=limit)


def test_wan_has_one_token_per_patch_of_its_latents():
    rule = BatchRule(token_px=16, token_frames=4)
    assert rule.tokens(832, 480, 81) == 32_760
    assert rule.tokens(448, 256, 17) == 2_240


def test_small_clips_share_a_call_as_far_as_their_tokens_fit():
    assert most() == 3


def test_a_clip_that_fills_the_device_shares_no_call():
    assert most(width=832, height=480, num_frames=81) == 1


def test_the_settings_and_the_catalog_entry_limit_the_number_too():
    tiny = {"width": 64, "height": 64, "num_frames": 9}
    assert most(limit=2) == 2
    assert most(limit=99, **tiny) == 8
    assert most(limit=1, **tiny) == 1


@pytest.mark.parametrize(
    ("spec", "clip", "has_conditions"),
    [
        (model(), {"deterministic": True}, False),
        (model(), {}, True),
        (model(batch=None), {}, False),
        (model(step_cache=StepCache(kind="first_block")), {}, False),
    ],
    ids=["deterministic", "first frame", "no rule", "step cache"],
)
def test_clips_that_cannot_share_a_call_are_alone(spec: ModelSpec, clip: dict[str, Any], has_conditions: bool):
    assert most(spec, has_conditions=has_conditions, **clip) == 1


@pytest.mark.parametrize(
    "change", [{"steps": 3}, {"guidance_scale": 4.0}, {"width": 128}, {"num_frames": 17}, {"fps": 9}]
)
def test_clips_that_differ_in_an_argument_of_the_call_have_different_keys(change: dict[str, Any]):
    assert key_of(make_clip(), model()) != key_of(make_clip(**change), model())


FILM = AdapterSpec(
    id="film", title="Film", source="/film", files=(AdapterFile(weight_name="a.safetensors"),), models=("*",)
)


def test_clips_with_other_adapters_scales_or_tiers_have_different_keys():
    moved = FILM.model_copy(update={"source": "/other"})
    uses = [(), (AdapterUse(FILM, 1.0),), (AdapterUse(FILM, 0.5),), (AdapterUse(moved, 1.0),)]
    keys = {key_of(make_clip(), model(), adapters) for adapters in uses}
    assert len(keys | {key_of(make_clip(), model(options={"flow_shift": 8.0}))}) == 5


def test_prompts_and_seeds_may_differ():
    assert key_of(make_clip(), model()) == key_of(make_clip(prompt="other", negative_prompt="x", seed=9), model())


def test_halves_contain_every_item():
    assert halves([1, 2, 3]) == ([1, 2], [3])
    assert halves([1]) == ([1], [])
