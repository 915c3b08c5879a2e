"""Reads denoisers from GGUF files. The other components come from the folder of the model."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.folders import find_class_name, find_gguf, list_gguf_files, unavailable
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory
from phoenix.errors import install_extra


def read_gguf_denoisers(diffusers: Any, model: ModelSpec, folder: Path) -> dict[str, Any]:
    """Returns the denoisers of the entry's GGUF files, by the name of their component. Call it with LOAD_LOCK.

    Their weights stay as they are in the file, and each layer converts its own in every call. The configuration comes
    from the folder of the model. Raises `TaskFailed` (MODEL_UNAVAILABLE) with the file and the reason.
    """
    files = list_gguf_files(model)
    if files and find_spec("gguf") is None:
        raise unavailable(model, f"quantization gguf needs the package gguf; {install_extra('quantization')}")
    return {file.component: _read(diffusers, model, folder, file.component, find_gguf(model, file)) for file in files}


def _read(diffusers: Any, model: ModelSpec, folder: Path, component: str, path: Path) -> Any:
    name = find_class_name(model, folder, component)
    if name is None:
        raise unavailable(model, f"quantization.files: the model has no {component}")
    kind: Any = getattr(diffusers, name, None)
    if not hasattr(kind, "from_single_file"):
        raise unavailable(model, f"quantization gguf cannot be used: diffusers reads no GGUF files of {name}")
    dtype = getattr(torch, model.dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.from_single_file(
                str(path),
                config=str(folder),
                subfolder=component,
                quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=dtype),
                dtype=dtype,
                local_files_only=True,
            )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise unavailable(model, f"quantization.files: {path} cannot be loaded: {reason[:300]}") from error
    if not any(hasattr(weights, "quant_type") for weights in found.parameters()):
        raise unavailable(model, f"quantization.files: {path} has no quantised weights for {name}")
    return found.eval()
