"""Adapters of the catalog, and the `loras` of a request."""

from pathlib import Path
from typing import Any

import pytest

from phoenix.api.routes.models import view_model
from phoenix.catalog.catalog import Catalog, CatalogError, load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

WAN = "wan-2.2-t2v-a14b"
BUILT_IN = "wan-2.2-t2v-4-steps"
TOML = """
[[adapters]]
id = "film"
title = "Film"
source = "/loras/film"
files = [{ weight_name = "high.safetensors" }, { weight_name = "low.safetensors", component = "transformer_2" }]
models = ["wan-2.2-*-a14b"]
scale = { minimum = 0.2, maximum = 1.5, default = 0.8 }
trigger_words = ["on film"]

[[adapters]]
id = "fast"
title = "Fast"
source = "/loras/fast"
files = [{ weight_name = "fast.safetensors" }]
models = ["wan-2.2-t2v-a14b"]

[[models]]
id = "wan-2.2-t2v-a14b"
tiers.draft = { steps = 4, guidance_scale = 1, adapters = [{ id = "fast", scale = 0.5 }] }
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load(tmp_path, TOML)


def load(folder: Path, text: str) -> Catalog:
    file = folder / "catalog.toml"
    file.write_text(text)
    return load_catalog(file)


def admit(catalog: Catalog, **body: Any) -> ResolvedReel:
    request = ReelRequest.model_validate({"model": WAN, "clips": [{"prompt": "a fox"}]} | body)
    return admit_reel(request, catalog, default_model=WAN, limits=AdmissionLimits(), draw_seed=lambda: 7)


def scales(reel: ResolvedReel) -> list[dict[str, float]]:
    return [{lora.id: lora.scale for lora in clip.loras} for clip in reel.clips]


def test_a_clip_overrides_the_adapters_of_the_reel(catalog):
    clips = [{"prompt": "a"}, {"prompt": "b", "loras": [{"id": "film", "scale": 1.5}]}, {"prompt": "c", "loras": []}]
    reel = admit(catalog, loras=[{"id": "fast"}, {"id": "film"}], clips=clips)
    assert scales(reel) == [{"fast": 1.0, "film": 0.8}, {"film": 1.5}, {}]


def test_the_order_in_a_request_is_irrelevant(catalog):
    loras = [{"id": "film"}, {"id": "fast"}]
    assert admit(catalog, loras=loras).clips == admit(catalog, loras=loras[::-1]).clips


def test_a_scale_of_0_stands_for_no_adapter(catalog):
    reel = admit(catalog, loras=[{"id": "film", "scale": 0}])
    assert (scales(reel), reel.adapters) == ([{}], {})


def test_a_tier_adds_its_adapters_and_a_request_may_give_them_another_scale(catalog):
    assert scales(admit(catalog, quality="draft", loras=[{"id": "film"}])) == [{"fast": 0.5, "film": 0.8}]
    assert scales(admit(catalog, quality="draft", loras=[{"id": "fast", "scale": 0}])) == [{}]


def test_the_files_of_each_adapter_in_use_are_stored_with_the_reel(catalog):
    stored = admit(catalog, loras=[{"id": "film"}]).adapters
    assert stored.keys() == {"film"}
    assert stored["film"].fields["source"] == "/loras/film"
    assert [file["component"] for file in stored["film"].fields["files"]] == ["transformer", "transformer_2"]


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"loras": [{"id": "grain"}]}, "/loras/0/id", f"{WAN} has no LoRA 'grain'; it has: {BUILT_IN}, film, fast"),
        (
            {"model": "ltx-video", "loras": [{"id": "film"}]},
            "/loras/0/id",
            "ltx-video has no LoRA 'film'; it has: none",
        ),
        (
            {"clips": [{"prompt": "a", "loras": [{"id": "film", "scale": 1.6}]}]},
            "/clips/0/loras/0/scale",
            "film takes a scale of 0.2 to 1.5, or 0 to switch it off",
        ),
        (
            {"loras": [{"id": "film"}, {"id": "film", "scale": 1}]},
            "/loras/1/id",
            "'film' is there twice; give it once, with one scale",
        ),
        ({"loras": [{"id": "film"}] * 5}, "/loras", "a clip takes at most 4 LoRAs, and there are 5"),
    ],
)
def test_a_wrong_adapter_is_refused_at_its_place(catalog, body, pointer, detail):
    with pytest.raises(InvalidRequest) as refused:
        admit(catalog, **body)
    assert {error.pointer: error.detail for error in refused.value.field_errors}[pointer] == detail


def test_clients_see_the_adapters_of_a_model_with_their_scales_and_words(catalog):
    spec = catalog.get(WAN)
    built_in, film, fast = view_model(spec, catalog.adapters_of(spec), unserved_reason=None).adapters
    assert built_in.id == BUILT_IN
    assert (film.id, film.trigger_words, film.scale.minimum, film.scale.default) == ("film", ["on film"], 0.2, 0.8)
    assert (fast.id, fast.scale.maximum) == ("fast", 2)
    draft = view_model(spec, catalog.adapters_of(spec), unserved_reason=None).tiers[0]
    assert [(lora.id, lora.scale) for lora in draft.loras] == [("fast", 0.5)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ((".safetensors", ".bin"), r"adapter 'film': files\.0\.weight_name"),
        (("transformer_2", "text_encoder"), r"adapter 'film': files\.1\.component"),
        ((', component = "transformer_2"', ""), "two files change the same component"),
        (("wan-2.2-*-a14b", "wan-9"), "adapter 'film': models: no diffusers model has the id 'wan-9'"),
        (("wan-2.2-*-a14b", "veo-*"), "no diffusers model has the id 'veo-"),
        (("minimum = 0.2", "minimum = 2"), "adapter 'film': scale: .*is not between"),
        (('{ id = "fast", scale', '{ id = "grain", scale'), "tiers.draft.adapters: it takes no adapter 'grain'"),
        (('id = "fast"\n', 'id = "film"\n'), "adapter 'film' is there twice"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_refused_by_name(tmp_path, change, complaint):
    with pytest.raises(CatalogError, match=complaint):
        load(tmp_path, TOML.replace(*change, 1))
