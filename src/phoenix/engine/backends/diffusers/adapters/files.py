"""Finds the files of adapters, checks them against a pipeline, and loads them into its denoisers."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from phoenix.catalog.adapters import AdapterFile, AdapterSpec, AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.stored_entries import store_adapter
from phoenix.catalog.tuning import Lora
from phoenix.engine.backends.diffusers.folders import check_whole, find_hub_file, is_hub_id, unavailable
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory
from phoenix.errors import PhoenixError

PREFIX = "transformer."
"""Begins the keys of a LoRA file, in the form of diffusers. A file for the second expert has the same prefix."""

_OF_A_LAYER = re.compile(r"(.+?)\.(?:lora|lokr|alpha|dora)")


@dataclass(frozen=True)
class AdapterPart:
    """One file of an adapter on this machine. Equal `name`s stand for the files of one adapter."""

    name: str
    title: str
    path: Path
    component: Literal["transformer", "transformer_2"]
    scale: float


def find_parts(model: ModelSpec, uses: Iterable[AdapterUse], *, offline: bool) -> tuple[AdapterPart, ...]:
    """Returns the files of the adapters in their order, and downloads missing files unless `offline`.

    Leaves out adapters with a scale of 0. Raises `TaskFailed` (MODEL_UNAVAILABLE) with the adapter and the reason.
    """
    return tuple(
        AdapterPart(
            name=adapter_name(use.adapter),
            title=use.adapter.id,
            path=_find_file(model, use.adapter, file, offline=offline),
            component=file.component,
            scale=use.scale,
        )
        for use in uses
        if use.scale
        for file in use.adapter.files
    )


def adapter_name(adapter: AdapterSpec) -> str:
    """Returns the name of the adapter in a pipeline. An id may have a dot, which no name of a module may have."""
    return f"adapter_{store_adapter(adapter).fingerprint[:16]}"


def load_part(pipeline: Any, model: ModelSpec, part: AdapterPart) -> None:
    """Loads one file into the denoiser that it belongs to. Call it with LOAD_LOCK.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) if a key of the file belongs to no layer: diffusers ignores such keys.
    """
    denoiser = getattr(pipeline, part.component, None)
    if denoiser is None:
        raise unavailable(model, f"the adapter {part.title} is for {part.component}, which the model does not have")
    if not hasattr(pipeline, "load_lora_weights"):
        raise unavailable(model, f"{pipeline.__class__.__name__} takes no adapters")
    reading = {"weight_name": part.path.name, "use_safetensors": True, "local_files_only": True}
    into = {"load_into_transformer_2": True} if part.component == "transformer_2" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pipeline.lora_state_dict(str(part.path.parent), **reading)
            # Some classes return the weights together with their alphas.
            weights = cast("dict[str, Any]", found[0] if isinstance(found, tuple) else found)
            _check_keys(model, part, weights, {name for name, _ in denoiser.named_modules()})
            pipeline.load_lora_weights(str(part.path.parent), adapter_name=part.name, **reading, **into)
    except PhoenixError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise unavailable(model, f"the adapter {part.title} cannot be used: {_reason(error)}") from error


def with_parts_in_entry(model: ModelSpec, parts: Iterable[AdapterPart]) -> ModelSpec:
    """Returns an entry that has the adapters from its load on, for weights whose modules cannot be copied."""
    loras = [Lora(source=str(part.path), scale=part.scale, component=part.component, is_fused=False) for part in parts]
    return model.model_copy(update={"loras": (*model.loras, *loras)})


def activate(pipeline: Any, parts: Sequence[AdapterPart]) -> None:
    """Makes the adapters of these files act in every call, in the order of the files."""
    scales = {part.name: part.scale for part in parts}
    pipeline.set_adapters(list(scales), list(scales.values()))


def _check_keys(model: ModelSpec, part: AdapterPart, keys: Iterable[str], layers: set[str]) -> None:
    for key in sorted(keys):
        layer = _OF_A_LAYER.match(key.removeprefix(PREFIX))
        if not key.startswith(PREFIX) or layer is None or layer[1] not in layers:
            where = f"the adapter {part.title}: {part.path.name}"
            raise unavailable(model, f"{where} has weights for {key}, and {part.component} has no such layer")


def _find_file(model: ModelSpec, adapter: AdapterSpec, file: AdapterFile, *, offline: bool) -> Path:
    path = (
        _find_download(model, adapter, file, offline=offline)
        if is_hub_id(adapter.source)
        else Path(adapter.source).expanduser() / file.weight_name
    )
    if not path.is_file():
        raise unavailable(model, f"the adapter {adapter.id} has no file {path}")
    check_whole(model, path)
    return path


def _find_download(model: ModelSpec, adapter: AdapterSpec, file: AdapterFile, *, offline: bool) -> Path:
    what = f"the adapter {adapter.id}: {file.weight_name} of {adapter.source}"
    return find_hub_file(model, what, adapter.source, file.weight_name, revision=adapter.revision, offline=offline)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
