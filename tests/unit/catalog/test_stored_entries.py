"""A stored request keeps what decides its pixels, although the catalog changes under it."""

from typing import Any

import pytest

from phoenix.catalog.adapters import AdapterFile, AdapterSpec
from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.stored_entries import EntryChanged, check_entries, restore_adapters, restore_entry
from phoenix.contract import ReelRequest, ResolvedReel

FILM = AdapterSpec(
    id="film",
    title="Film",
    source="/loras/film",
    files=(AdapterFile(weight_name="film.safetensors"),),
    models=("wan-*",),
)


def entry(**changes: Any) -> ModelSpec:
    fields = load_catalog().get("wan-2.1-t2v-1.3b").model_dump() | {
        "tiers": {"draft": {"options": {"sigmas": [1.0, 0.5]}}},
        "loras": [{"source": "/loras/style", "weight_name": "style.safetensors"}],
    }
    return ModelSpec.model_validate(fields | changes)


def accept(catalog: Catalog, **body: Any) -> ResolvedReel:
    """The reel as a worker finds it: after its way through a JSON column."""
    request = ReelRequest.model_validate({"clips": [{"prompt": "a fox"}], "loras": [{"id": "film"}]} | body)
    model_id = next(iter(catalog)).id
    reel = admit_reel(request, catalog, default_model=model_id, limits=AdmissionLimits(), draw_seed=lambda: 7)
    return ResolvedReel.model_validate_json(reel.model_dump_json())


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_an_unchanged_catalog_gives_the_entry_of_the_tier(quality):
    catalog = Catalog([entry()], [FILM])
    assert restore_entry(accept(catalog, quality=quality), catalog) == entry().at_quality(quality)


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_the_stored_fields_win_over_an_edited_entry_and_the_rest_is_that_of_today(quality):
    reel = accept(Catalog([entry()], [FILM]), quality=quality)
    edited = entry(
        tiers={},
        options={"flow_shift": 8.0},
        scheduler={"kind": "FlowMatchEulerDiscreteScheduler"},
        dtype="float32",
        offload="model",
        steps={"minimum": 1, "maximum": 4, "default": 4},
    )
    restored = restore_entry(reel, Catalog([edited], [FILM]))
    before = entry().at_quality(quality)
    assert (restored.options, restored.scheduler, restored.dtype) == (before.options, None, "bfloat16")
    assert restored.offload == "model"


def test_an_adapter_keeps_its_files_and_its_scale():
    reel = accept(Catalog([entry()], [FILM]), loras=[{"id": "film", "scale": 0.5}])
    moved = FILM.model_copy(update={"files": (AdapterFile(weight_name="new.safetensors"),), "revision": "v2"})
    (use,) = restore_adapters(reel.clips[0], reel, Catalog([entry()], [moved]))
    assert (use.adapter.files, use.adapter.revision, use.scale) == (FILM.files, None, 0.5)


def test_a_fingerprint_changes_with_what_decides_the_pixels_and_with_nothing_else():
    def fingerprint(**changes: Any) -> str:
        stored = accept(Catalog([entry(**changes)], [FILM])).entry
        assert stored is not None
        return stored.fingerprint

    assert fingerprint(title="Other", offload="model", memory_bytes=1, batch=None) == fingerprint()
    assert len({fingerprint(), fingerprint(dtype="float32"), fingerprint(revision="v2"), fingerprint(loras=[])}) == 4
    kinds = ({"kind": "int8"}, {"kind": "float8"}, "auto", None)
    assert len({fingerprint(quantization=quantization) for quantization in kinds}) == 4


@pytest.mark.parametrize(
    ("models", "adapters", "reason"),
    [
        ([load_catalog().get("ltx-video")], [], "the model wan-2.1-t2v-1.3b is no longer in the catalog"),
        ([entry(source="/elsewhere")], [FILM], "came from Wan-AI/Wan2.1-T2V-1.3B-Diffusers when the request was"),
        ([entry(loras=[], dtype="float32")], [FILM], "a LoRA of wan-2.1-t2v-1.3b came from /loras/style"),
        ([entry()], [FILM.model_copy(update={"source": "/other"})], "the adapter film came from /loras/film"),
        ([entry()], [], "the adapter film came from /loras/film .* the catalog no longer names that source"),
    ],
)
def test_what_the_catalog_no_longer_has_is_named(models, adapters, reason):
    reel = accept(Catalog([entry()], [FILM]))
    with pytest.raises(EntryChanged, match=reason):
        check_entries(reel, Catalog(models, adapters))


def test_gguf_weights_that_the_catalog_no_longer_names_are_named():
    gguf = {"kind": "gguf", "files": [{"source": "/weights/wan.gguf"}]}
    reel = accept(Catalog([entry(loras=[], quantization=gguf)], [FILM]))
    assert restore_entry(reel, Catalog([entry(loras=[], quantization=gguf, dtype="float32")], [FILM])).quantization
    with pytest.raises(EntryChanged, match=r"the GGUF weights of wan-2.1-t2v-1.3b came from /weights/wan.gguf"):
        restore_entry(reel, Catalog([entry(loras=[])], [FILM]))


def test_a_stored_field_that_this_version_does_not_know_is_named():
    catalog = Catalog([entry()], [FILM])
    reel = accept(catalog)
    assert reel.entry is not None
    newer = reel.entry.model_copy(update={"fields": reel.entry.fields | {"quantum": True}})
    with pytest.raises(EntryChanged, match=r"the stored entry of wan-2.1-t2v-1.3b cannot be used any more: quantum"):
        restore_entry(reel.model_copy(update={"entry": newer}), catalog)


def test_a_job_without_a_stored_entry_is_rendered_with_the_entry_of_today():
    catalog = Catalog([entry()], [FILM])
    earlier = accept(catalog).model_copy(update={"entry": None})
    assert restore_entry(earlier, catalog) == entry()
