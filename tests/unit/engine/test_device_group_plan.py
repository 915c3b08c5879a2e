"""Which models the devices of a worker can share, and how."""

import json
from pathlib import Path

import diffusers
import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.engine.backends.diffusers.device_group.plan import (
    GUIDED_BY_CALLS,
    PLANNED,
    DenoiserFacts,
    ModelFacts,
    Roles,
    check_devices,
    choose_parallelism,
    find_refusal,
    find_shortage,
    read_facts,
)
from phoenix.errors import FailureCode, TaskFailed

WAN = load_catalog().get("wan-2.1-t2v-14b")
DENOISER = "WanTransformer3DModel"


def write_model(folder: Path, *, pipeline: str = "WanPipeline", denoiser: str = DENOISER, heads: int = 12) -> ModelSpec:
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_text(json.dumps({"num_attention_heads": heads}))
    index = {"_class_name": pipeline, "transformer": ["diffusers", denoiser], "vae": ["diffusers", "AutoencoderKLWan"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return WAN.model_copy(update={"source": str(folder), "pipeline": None})


def facts(pipeline: str = "WanPipeline", denoiser: str = DENOISER, heads: int | None = 12) -> ModelFacts:
    return ModelFacts(pipeline, {"transformer": DenoiserFacts(denoiser, heads)})


def test_the_folder_says_what_the_denoisers_are(tmp_path):
    assert read_facts(write_model(tmp_path, heads=40)) == facts(heads=40)


def test_every_class_that_is_named_is_one_of_diffusers():
    assert all(vars(getattr(diffusers, name))["_cp_plan"] for name in PLANNED)
    assert all(hasattr(diffusers, name) for name in GUIDED_BY_CALLS)


@pytest.mark.parametrize(
    ("parallelism", "found", "refusal"),
    [
        (Parallelism(guidance=True), facts(), None),
        (Parallelism(context=4), facts(), None),
        (Parallelism(context=5), facts(heads=None), None),
        (Parallelism(context=5, method="ring"), facts(), None),
        (Parallelism(context=5), facts(), "its transformer has 12 heads of attention, which are not divisible"),
        (Parallelism(context=2), facts(denoiser="MochiTransformer3DModel"), "MochiTransformer3DModel, which cannot be"),
        (Parallelism(guidance=True), facts(denoiser="MochiTransformer3DModel"), None),
        (Parallelism(guidance=True), facts("LTXPipeline"), "LTXPipeline has no call of its own for each branch"),
        (Parallelism(context=2), facts("WanModularPipeline"), "the blocks of WanModularPipeline run on one device"),
    ],
)
def test_a_class_that_cannot_be_divided_is_refused_with_the_reason(parallelism, found, refusal):
    given = find_refusal(parallelism, found)
    assert given is None if refusal is None else refusal in str(given)


@pytest.mark.parametrize(("devices", "is_short"), [(1, True), (2, True), (4, False), (8, False)])
def test_a_worker_with_fewer_devices_than_an_entry_needs_is_told_how_to_start(devices, is_short):
    model = WAN.model_copy(update={"parallelism": Parallelism(context=2, guidance=True)})
    shortage = find_shortage(model, devices)
    assert is_short == (shortage is not None)
    assert shortage is None or "start it with `--device cuda:0+cuda:1+cuda:2+cuda:3`" in shortage


def test_a_load_is_refused_before_it_reads_weights(tmp_path):
    model = write_model(tmp_path, heads=3).model_copy(update={"parallelism": Parallelism(context=2)})
    with pytest.raises(TaskFailed, match="3 heads of attention") as raised:
        check_devices(model, 2)
    assert raised.value.code is FailureCode.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    ("devices", "chosen"),
    [
        (1, None),
        (2, Parallelism(guidance=True)),
        (3, Parallelism(context=3)),
        (4, Parallelism(context=2, guidance=True)),
        (5, Parallelism(context=2, guidance=True)),
        (8, Parallelism(context=4, guidance=True)),
    ],
)
def test_auto_uses_the_most_devices_and_begins_with_guidance(tmp_path, devices, chosen):
    assert choose_parallelism(write_model(tmp_path), devices)[0] == chosen


def test_auto_divides_the_sequence_of_a_model_without_guidance(tmp_path):
    model = write_model(tmp_path)
    unguided = model.model_copy(update={"guidance_scale": model.guidance_scale.model_copy(update={"default": 1.0})})
    assert choose_parallelism(unguided, 2)[0] == Parallelism(context=2)


def test_auto_leaves_a_model_on_one_device_with_the_reason(tmp_path):
    model = write_model(tmp_path, pipeline="MochiPipeline", denoiser="MochiTransformer3DModel")
    assert choose_parallelism(model, 2) == (
        None,
        "parallelism.context cannot be used: its transformer is a MochiTransformer3DModel, which cannot be divided",
    )


def test_auto_waits_for_the_files_of_the_model():
    assert choose_parallelism(WAN.model_copy(update={"source": "./nowhere"}), 2) == (None, "its files are not here")


def test_each_branch_of_guidance_has_the_ranks_of_a_sequence():
    roles = Roles(Parallelism(context=2, guidance=True))
    assert (roles.size, roles.helpers, roles.second_branch) == (4, (1,), (2, 3))
    assert Roles(Parallelism(guidance=True)).second_branch == (1,)
    assert Roles(Parallelism(context=3)).second_branch == ()
