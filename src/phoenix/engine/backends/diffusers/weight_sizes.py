"""The size that the weights of a model will have in memory, from the headers of its files. Imports no torch.

It decides before a load whether the weights fit on the device, and in the memory of the machine.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Quantization
from phoenix.engine.backends.diffusers.folders import (
    StoredTensor,
    find_components,
    find_gguf,
    get_folder,
    list_gguf_files,
    list_weight_files,
    read_stored_tensors,
)
from phoenix.engine.host_memory import pinned_bytes
from phoenix.errors import TaskFailed

VALUE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED_BYTES = {"F64": 8, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}
"""By the name in the header of a safetensors file; every other type of fixed size has one byte."""

FLOATS = re.compile(r"B?F\d")
"""Types that a load converts to the dtype of the entry."""

DENOISERS = ("transformer", "transformer_2", "unet", "dit")

EMBEDDINGS = re.compile(r"(?:^|\.)(?:shared|embed\w*|\w*embedding|relative_attention_bias)\.weight$")
"""Weights of two dimensions that no linear layer has."""

SCALE_BYTES = 5
"""What a quantised weight has for each row: a scale in float32, and a zero in int8."""


@dataclass(frozen=True)
class WeightSizes:
    """The bytes of the weights in memory, for each component."""

    components: Mapping[str, int]
    pinned_bytes: int
    """What all of them take in pinned memory, tensor by tensor."""

    @property
    def total_bytes(self) -> int:
        return sum(self.components.values())

    @property
    def largest_bytes(self) -> int:
        """The largest component: only that one is on the device with the offload mode `model`."""
        return max(self.components.values(), default=0)

    def host_bytes(self, offload: str, *, is_cuda: bool) -> int:
        """Returns the memory of the machine that they take with an offload mode."""
        if not is_cuda:
            return self.total_bytes
        return {"model": self.total_bytes, "group": self.pinned_bytes}.get(offload, 0)


def find_weight_sizes(model: ModelSpec) -> WeightSizes | None:
    """Returns the sizes; None if the files are not complete on this machine, which the load then reports."""
    files = {file.component: file for file in list_gguf_files(model)}
    try:
        folder = get_folder(model)
        parts = {name: component.folder for name, component in find_components(model, folder).items()}
        tensors = {name: list(_tensor_bytes(model, part)) for name, part in parts.items() if name not in files}
        # The values of a GGUF file stay as they are.
        tensors |= {name: [find_gguf(model, file).stat().st_size] for name, file in files.items()}
    except (TaskFailed, OSError):
        return None
    sizes = {name: sum(found) for name, found in tensors.items() if found}
    return WeightSizes(sizes, sum(pinned_bytes(size) for found in tensors.values() for size in found))


def _tensor_bytes(model: ModelSpec, part: Path) -> Iterator[int]:
    float_bytes, is_quantized = _bytes_of_a_float(model, part.name), _is_quantized(model, part.name)
    for file in list_weight_files(model, part):
        for tensor in read_stored_tensors(model, file):
            is_float = FLOATS.match(tensor.dtype) is not None
            if is_float and is_quantized and _is_of_a_linear_layer(tensor):
                yield tensor.values + tensor.shape[0] * SCALE_BYTES
            else:
                yield tensor.values * (float_bytes if is_float else STORED_BYTES.get(tensor.dtype, 1))


def _is_quantized(model: ModelSpec, part: str) -> bool:
    """Returns whether torchao stores the linear layers of the component in 8 bits."""
    quantization = model.quantization
    if not isinstance(quantization, Quantization) or quantization.kind == "gguf":
        return False
    kind = "text_encoders" if part.startswith("text_encoder") else "denoisers" if part in DENOISERS else None
    return kind in quantization.components


def _is_of_a_linear_layer(tensor: StoredTensor) -> bool:
    return len(tensor.shape) == 2 and tensor.name.endswith(".weight") and EMBEDDINGS.search(tensor.name) is None


def _bytes_of_a_float(model: ModelSpec, part: str) -> int:
    if part in DENOISERS and model.layerwise_casting is not None:
        return 1
    dtype = model.options.get("vae_dtype", model.dtype) if part == "vae" else model.dtype
    return VALUE_BYTES.get(str(dtype), 4)
