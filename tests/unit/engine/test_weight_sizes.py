"""The size of weights in memory, as the headers of their files give it."""

import json
from pathlib import Path
from typing import Any

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import GgufFile, Quantization
from phoenix.engine.backends.diffusers.weight_sizes import WeightSizes, find_weight_sizes


def write_tensors(file: Path, *tensors: tuple[str, int]) -> None:
    """A safetensors file with the header of tensors of a type and a number of values, and without their values."""
    header = {
        str(name): {"dtype": kind, "shape": [1, values], "data_offsets": [0, 0]}
        for name, (kind, values) in enumerate(tensors)
    }
    text = json.dumps(header).encode()
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = {"_class_name": "X", "vae": ["diffusers", "V"], "transformer": ["diffusers", "T"], "scheduler": ["d", "S"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    write_tensors(tmp_path / "vae" / "model.safetensors", ("F32", 10))
    write_tensors(tmp_path / "transformer" / "model.safetensors", ("BF16", 100), ("F8_E4M3", 20), ("I64", 3))
    return tmp_path


def sizes(folder: Path, **changes: Any) -> WeightSizes:
    model = load_catalog().get("ltx-video").model_copy(update={"source": str(folder), "options": {}, **changes})
    found = find_weight_sizes(model)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "vae", "transformer"),
    [
        ({"dtype": "bfloat16"}, 20, 264),
        ({"dtype": "float32"}, 40, 504),
        ({"options": {"vae_dtype": "float32"}}, 40, 264),
        ({"layerwise_casting": "float8_e4m3fn"}, 20, 144),
    ],
)
def test_floats_count_in_the_type_in_which_they_are_held(folder, changes, vae, transformer):
    found = sizes(folder, **changes)
    assert (found.components, found.total_bytes) == ({"vae": vae, "transformer": transformer}, vae + transformer)
    assert found.largest_bytes == transformer


def write_named(file: Path, **shapes: list[int]) -> None:
    """The same for tensors in bfloat16, with names and shapes."""
    header = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize(
    ("quantization", "transformer", "text_encoder"),
    [
        (None, 2 * (40 + 10), 2 * (40 + 40)),
        (Quantization(kind="int8"), 40 + 4 * 5 + 2 * 10, 2 * (40 + 40)),
        (Quantization(kind="float8", components=("text_encoders",)), 2 * (40 + 10), 40 + 4 * 5 + 2 * 40),
    ],
)
def test_quantised_layers_count_a_byte_for_each_value_and_a_scale_for_each_row(
    folder, quantization, transformer, text_encoder
):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"text_encoder": ["transformers", "E"]}))
    write_named(folder / "transformer" / "model.safetensors", **{"a.to_q.weight": [4, 10], "a.to_q.bias": [10]})
    (folder / "text_encoder").mkdir()
    # An embedding has two dimensions, and is no linear layer.
    encoder = {"block.0.wo.weight": [4, 10], "encoder.embed_tokens.weight": [4, 10]}
    write_named(folder / "text_encoder" / "model.safetensors", **encoder)
    found = sizes(folder, quantization=quantization).components
    assert (found["transformer"], found["text_encoder"]) == (transformer, text_encoder)


def test_a_gguf_file_counts_instead_of_the_weights_in_the_folder(folder):
    (folder / "weights.gguf").write_bytes(b"GGUF".ljust(77, b"x"))
    (folder / "transformer" / "model.safetensors").unlink()
    files = (GgufFile(source=str(folder), weight_name="weights.gguf"),)
    assert sizes(folder, quantization=Quantization(kind="gguf", files=files)).components["transformer"] == 77


def test_a_copy_in_another_precision_does_not_count(folder):
    write_tensors(folder / "vae" / "model.fp16.safetensors", ("F16", 10))
    assert sizes(folder).components["vae"] == 20


def test_only_the_files_that_an_index_names_count(folder):
    write_tensors(folder / "vae" / "model-00001-of-00001.safetensors", ("F32", 7))
    index = {"weight_map": {"0": "model-00001-of-00001.safetensors"}}
    (folder / "vae" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert sizes(folder).components["vae"] == 14


def test_offloaded_weights_are_in_the_memory_of_the_machine_and_pinned_ones_take_more(folder):
    found = sizes(folder)
    modes = ("never", "auto", "model", "group")
    assert [found.host_bytes(mode, is_cuda=True) for mode in modes] == [0, 0, 284, 32 + 256 + 64 + 32]
    assert {found.host_bytes(mode, is_cuda=False) for mode in modes} == {284}


def test_the_size_of_files_that_are_not_complete_is_unknown(folder):
    (folder / "vae" / "model.safetensors").write_bytes(b"half")
    model: ModelSpec = load_catalog().get("ltx-video")
    assert find_weight_sizes(model.model_copy(update={"source": str(folder)})) is None
    assert find_weight_sizes(model.model_copy(update={"source": str(folder / "none")})) is None
