"""Quantises the linear layers of a loaded pipeline by torchao, and shows the plain tensors in such weights."""

import importlib
import logging
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Quantization
from phoenix.engine.backends.diffusers.denoising.denoisers import apply_option, denoisers_of
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.errors import install_extra

TEXT_ENCODER = "text_encoder"
"""Begins the names of the components that read text: `text_encoder`, `text_encoder_2`."""

_CONFIGS = {
    "int8": "Int8WeightOnlyConfig",
    "float8": "Float8WeightOnlyConfig",
    "float8_dynamic": "Float8DynamicActivationFloat8WeightConfig",
}
_CHATTY = ("torchao", "torch.utils._pytree", "diffusers")
"""Loggers that warn, while torchao is imported, of kernels that this build does not have."""


def quantize_weights(pipeline: Any, model: ModelSpec, device: str) -> None:
    """Stores the weights of linear layers in 8 bits. Call it with LOAD_LOCK, after fine-tunes are fused.

    Weights that a class keeps in another type than the entry's `dtype` stay as they are. `TorchAoConfig` of diffusers
    would quantise the same weights while it reads them, and no fine-tune could be fused after that.
    Raises `TaskFailed` (MODEL_UNAVAILABLE) with the reason.
    """
    quantization = model.quantization
    if not isinstance(quantization, Quantization) or quantization.kind == "gguf":
        return
    if find_spec("torchao") is None:
        raise unavailable(model, f"quantization needs the package torchao; {install_extra('quantization')}")
    what, dtype = f"quantization {quantization.kind}", getattr(torch, model.dtype)
    if quantization.kind == "float8_dynamic" and not device.startswith("cuda"):
        raise unavailable(model, f"{what} cannot be used: it needs a GPU that multiplies in 8 bits, and this is a CPU")
    for name, component in _components_of(pipeline, model, quantization).items():
        apply_option(model, f"{what} of {name}", lambda it=component: _quantize(it, quantization, dtype))
        if not any(is_quantized(weights) for weights in component.parameters()):
            raise unavailable(model, f"{what} of {name} would change nothing: it has no linear layers of {model.dtype}")


def is_quantized(tensor: torch.Tensor) -> bool:
    """Returns whether torchao made the tensor, which then has several plain tensors in it."""
    return hasattr(tensor, "__tensor_flatten__")


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields the tensors that have memory of their own: a quantised weight has none, but its values and scales do."""
    if not is_quantized(tensor):
        yield tensor
        return
    weights: Any = tensor
    for name in weights.__tensor_flatten__()[0]:
        yield from plain_tensors(getattr(weights, name))


def _components_of(pipeline: Any, model: ModelSpec, quantization: Quantization) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "denoisers" in quantization.components:
        found |= denoisers_of(pipeline)
    if "text_encoders" in quantization.components:
        encoders = {
            name: part
            for name, part in pipeline.components.items()
            if name.startswith(TEXT_ENCODER) and isinstance(part, torch.nn.Module)
        }
        if not encoders:
            raise unavailable(model, "quantization.components: it has no text_encoders")
        found |= encoders
    return found


def _quantize(component: torch.nn.Module, quantization: Quantization, dtype: torch.dtype) -> None:
    with quiet_import():
        torchao: Any = importlib.import_module("torchao.quantization")
        config = getattr(torchao, _CONFIGS[quantization.kind])()

        def is_linear(part: torch.nn.Module, _name: str) -> bool:
            return isinstance(part, torch.nn.Linear) and part.weight.dtype is dtype

        torchao.quantize_(component, config, filter_fn=is_linear)


@contextmanager
def quiet_import() -> Generator[None]:
    """Silences what torchao, and diffusers because of torchao, would say while they are imported."""
    before = {name: logging.getLogger(name).level for name in _CHATTY}
    for name in before:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
