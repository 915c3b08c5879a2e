"""The tiers of an entry, and what `quality` makes of a request."""

from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.api.routes.models import view_model
from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.tuning import StepCache, Tier
from phoenix.contract import MediaInfo, ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

PICTURE = "art_" + "0" * 26
WAN = load_catalog().get("wan-2.1-t2v-1.3b")


def with_tiers(**tiers: dict[str, Any]) -> ModelSpec:
    return ModelSpec.model_validate(WAN.model_dump() | {"tiers": tiers})


def admit(model: ModelSpec, **body: Any) -> ResolvedReel:
    request = ReelRequest.model_validate({"clips": [{"prompt": "a fox"}]} | body)
    return admit_reel(request, Catalog([model]), default_model=model.id, limits=AdmissionLimits(), draw_seed=lambda: 7)


@pytest.mark.parametrize("model", load_catalog(), ids=lambda model: model.id)
def test_a_built_in_tier_takes_fewer_or_more_steps_than_the_entry(model):
    steps = [model.at_quality(quality).steps.default for quality in model.qualities]
    assert steps == sorted(set(steps))
    is_distilled = model.id.endswith("-4-steps")
    assert ("draft" in model.tiers) == (model.id == "animatic" or (model.id.startswith("wan") and not is_distilled))


@pytest.mark.parametrize(
    "model_id", ["wan-2.1-t2v-14b", "wan-2.1-i2v-14b-480p", "wan-2.2-t2v-a14b", "wan-2.2-i2v-a14b"]
)
def test_a_distilled_entry_has_the_weights_of_another_and_its_adapter_in_every_clip(model_id):
    catalog = load_catalog()
    base, distilled = catalog.get(model_id), catalog.get(f"{model_id}-4-steps")
    assert (distilled.source, distilled.revision) == (base.source, base.revision)
    (adapter,) = catalog.tier_adapters(distilled)
    assert adapter.fits(base.id)
    request = ReelRequest.model_validate({"model": distilled.id, "clips": [clip_of(distilled)]})
    reel = admit_reel(
        request,
        catalog,
        default_model="animatic",
        limits=AdmissionLimits(),
        draw_seed=lambda: 7,
        media={PICTURE: MediaInfo(media="image", format="png")},
    )
    assert [(lora.id, lora.scale) for lora in reel.clips[0].loras] == [(adapter.id, 1)]
    assert (reel.clips[0].steps, reel.clips[0].guidance_scale) == (4, 1)
    assert catalog.tier_adapters(base) == []
    assert (catalog.needed_adapters(distilled), catalog.needed_adapters(base)) == ([adapter], [])


def clip_of(model: ModelSpec) -> dict[str, Any]:
    conditions = [{"role": role, "source": {"artifact_id": PICTURE}} for role in model.needed_roles]
    return {"prompt": "a fox", "conditions": conditions}


def test_an_adapter_of_only_one_of_two_tiers_is_not_needed():
    catalog = load_catalog()
    spec = catalog.get("wan-2.1-t2v-14b-4-steps")
    assert "standard" in spec.tiers
    two = spec.model_copy(update={"tiers": {**spec.tiers, "high": Tier()}})
    assert (len(catalog.needed_adapters(spec)), catalog.needed_adapters(two)) == (1, [])


def test_without_a_quality_a_reel_has_the_values_of_the_entry():
    reel = admit(with_tiers(draft={"steps": 8}))
    assert (reel.quality, reel.clips[0].steps) == ("standard", WAN.steps.default)


def test_a_tier_decides_what_the_request_leaves_out():
    model = with_tiers(draft={"steps": 8, "guidance_scale": 2})
    plain, own = (admit(model, quality="draft", **given).clips[0] for given in ({}, {"steps": 30}))
    assert (plain.steps, plain.guidance_scale) == (8, 2)
    assert (own.steps, own.guidance_scale) == (30, 2)


def test_a_tier_that_the_entry_lacks_is_refused_with_the_list_of_its_tiers():
    with pytest.raises(InvalidRequest) as refused:
        admit(with_tiers(draft={"steps": 8}), quality="high")
    (error,) = refused.value.field_errors
    assert error.pointer == "/quality"
    assert error.detail == f"{WAN.id} has no tier 'high'; choose one of: draft, standard"


def test_the_stored_entry_has_the_scheduler_the_options_and_the_cache_of_the_tier():
    model = with_tiers(
        draft={
            "scheduler": {"kind": "FlowMatchEulerDiscreteScheduler", "settings": {"shift": 5.0}},
            "options": {"sigmas": [1.0, 0.6, 0.2]},
            "step_cache": {"kind": "first_block"},
        }
    )
    reel = admit(model, quality="draft")
    assert reel.clips[0].steps == 3
    assert reel.entry is not None
    assert reel.entry.fields["options"] == WAN.options | {"sigmas": [1.0, 0.6, 0.2]}
    assert reel.entry.fields["scheduler"]["settings"] == {"shift": 5.0}
    assert reel.entry.fields["step_cache"]["kind"] == "first_block"
    assert reel.entry.fingerprint != admit(model).entry.fingerprint  # type: ignore[union-attr]


def test_steps_that_contradict_the_sigmas_of_the_tier_are_refused():
    with pytest.raises(InvalidRequest) as refused:
        admit(with_tiers(draft={"options": {"sigmas": [1.0, 0.5]}}), quality="draft", steps=3)
    assert [error.pointer for error in refused.value.field_errors] == ["/steps"]


def test_a_tier_may_switch_the_step_cache_of_the_entry_off():
    cached = WAN.model_copy(update={"step_cache": StepCache(kind="first_block")})
    model = ModelSpec.model_validate(cached.model_dump() | {"tiers": {"high": {"step_cache": "none"}}})
    assert (model.at_quality("standard").step_cache is None, model.at_quality("high").step_cache) == (False, None)


@pytest.mark.parametrize(
    ("tiers", "complaint"),
    [
        ({"draft": {"steps": 500}}, "tiers.draft: default 500 is not between 1 and 100"),
        ({"draft": {"options": {"num_inference_steps": 4}}}, "tiers.draft: options.num_inference_steps"),
        ({"draft": {"options": {"vae_tiling": True}}}, "tiers.draft.options.vae_tiling would need other weights"),
        ({"high": {"steps": 9, "options": {"sigmas": [1.0]}}}, "tiers.high.steps is 9, and its sigmas are 1"),
        ({"fast": {"steps": 9}}, "tiers.fast"),
    ],
)
def test_a_tier_that_contradicts_its_entry_is_refused_by_name(tiers, complaint):
    with pytest.raises(ValidationError, match=complaint):
        with_tiers(**tiers)


def test_clients_see_the_tiers_of_a_model_with_their_steps():
    tiers = view_model(load_catalog().get("animatic"), unserved_reason=None).tiers
    assert [(tier.quality, tier.steps) for tier in tiers] == [("draft", 8), ("standard", 20), ("high", 40)]
