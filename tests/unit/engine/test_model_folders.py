"""The checks on the folder of a model, before anything is loaded from it."""

import json
from pathlib import Path

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.folders import check_folder, find_components, get_folder, is_on_disk, read_index
from phoenix.errors import FailureCode, Stage, TaskFailed


def model(source: str) -> ModelSpec:
    return load_catalog().get("ltx-video").model_copy(update={"source": source})


def write_weights(file: Path, *, size_bytes: int = 64) -> None:
    """A safetensors file with one tensor of `size_bytes`."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size_bytes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline of a scheduler, a denoiser, a part that is left out and a setting."""
    (tmp_path / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "LTXPipeline",
                "scheduler": ["diffusers", "S"],
                "transformer": ["diffusers", "T"],
                "image_encoder": [None, None],
                "boundary_ratio": 0.875,
            }
        )
    )
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{}")
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text("{}")
    write_weights(tmp_path / "transformer" / "model.safetensors")
    return tmp_path


def complaint(folder: Path) -> str:
    with pytest.raises(TaskFailed) as failed:
        check_folder(model(str(folder)), folder)
    assert (failed.value.code, failed.value.stage) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD)
    assert not failed.value.retriable
    return failed.value.detail


def test_a_complete_folder_is_accepted(folder):
    check_folder(model(str(folder)), folder)


def test_a_folder_without_an_index_is_no_pipeline(folder):
    (folder / "model_index.json").unlink()
    assert "is it a diffusers pipeline?" in complaint(folder)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_an_index_that_cannot_be_read_is_refused(folder, text):
    (folder / "model_index.json").write_text(text)
    assert "model_index.json" in complaint(folder)


def test_a_missing_component_is_named(folder):
    (folder / "scheduler" / "scheduler_config.json").unlink()
    (folder / "scheduler").rmdir()
    assert "the component 'scheduler' is missing" in complaint(folder)


def test_pickled_weights_are_refused(folder):
    (folder / "transformer" / "model.safetensors").rename(folder / "transformer" / "model.bin")
    assert "transformer/model.bin is a pickle; only safetensors are loaded" in complaint(folder)


def test_a_component_without_weights_is_refused(folder):
    (folder / "transformer" / "model.safetensors").unlink()
    assert "transformer has no weights" in complaint(folder)


def test_a_half_download_is_refused_with_its_bytes(folder):
    file = folder / "transformer" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert f"is cut short: {len(whole) - 10} of {len(whole)} bytes" in complaint(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"])
def test_a_file_that_is_no_safetensors_file_is_refused(folder, content):
    (folder / "transformer" / "model.safetensors").write_bytes(content)
    assert "transformer/model.safetensors" in complaint(folder)


def test_a_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "transformer" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002.safetensors is missing" in complaint(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TaskFailed, match=r"there is no folder .*/nowhere"):
        get_folder(model(str(tmp_path / "nowhere")))


def test_a_hub_model_that_was_not_downloaded_says_how_to_get_it():
    with pytest.raises(TaskFailed, match="run `phoenix models pull ltx-video`"):
        get_folder(model("nobody/has-this-model"))


@pytest.mark.parametrize("source", ["/models/wan", "./wan", "~/wan", "models/video/wan", "wan"])
def test_a_path_is_not_mistaken_for_a_hub_id(source):
    assert is_on_disk(model(source))


def test_a_hub_id_is_not_mistaken_for_a_path():
    assert not is_on_disk(model("Wan-AI/Wan2.1-T2V-1.3B-Diffusers"))


@pytest.fixture
def modular(folder: Path) -> Path:
    """The index of a modular pipeline: with a component of another repository, which may be missing."""

    def entry(class_name: str, **place: str) -> list[object]:
        return [None, None, {"type_hint": ["diffusers", class_name], **place}]

    (folder / "model_index.json").rename(folder / "plain.json")
    index = {
        "_class_name": "LTXModularPipeline",
        "scheduler": entry("S", subfolder="scheduler"),
        "denoiser": entry("T", subfolder="transformer"),
        "enhancer": entry("E", pretrained_model_name_or_path="acme/enhancer"),
        "guider": [None, None, {"type_hint": [None, None]}],
    }
    (folder / "modular_model_index.json").write_text(json.dumps(index))
    return folder


def test_a_modular_index_says_where_its_components_are(modular):
    check_folder(model(str(modular)), modular)
    found = find_components(model(str(modular)), modular)
    assert {name: (part.folder.name, part.class_name) for name, part in found.items()} == {
        "scheduler": ("scheduler", "S"),
        "denoiser": ("transformer", "T"),
    }


def test_the_weights_of_a_modular_pipeline_are_checked(modular):
    (modular / "transformer" / "model.safetensors").unlink()
    (modular / "transformer" / "model.bin").write_bytes(b"a pickle")
    assert "transformer/model.bin is a pickle" in complaint(modular)


def test_a_folder_of_both_kinds_is_read_by_the_index_of_the_class_of_its_entry(modular):
    (modular / "plain.json").rename(modular / "model_index.json")
    entry = model(str(modular))
    assert read_index(entry, modular)["_class_name"] == "LTXPipeline"
    named = entry.model_copy(update={"pipeline": "LTXModularPipeline"})
    assert read_index(named, modular)["_class_name"] == "LTXModularPipeline"
