"""Lets the entries of one source share its weights: each has a pipeline of its own over the same components."""

import copy
import json
from pathlib import Path
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.classes.signatures import component_names, is_modular

OF_THE_WEIGHTS = ("vae_dtype", "vae_tiling", "vae_slicing")
"""Options that change a component, and so every pipeline that shares it."""


OF_THE_MODULES = ("dtype", "loras", "layerwise_casting", "quantization", "parallelism")
"""Fields of an entry that change the weights in memory."""

OF_THE_DENOISERS = ("step_cache", "attention", "compile_blocks")
"""Fields of an entry that act on the modules of its denoisers, and leave the weights as they are."""


OF_EACH_PIPELINE = frozenset({"scheduler", "audio_scheduler", "guider", "guider_2", "audio_guider", "video_processor"})
"""Components without weights, which pipelines of several classes over the same weights do not share."""


def weights_key(model: ModelSpec) -> str:
    """Returns equal texts for entries that can share weights: nothing in memory would differ.

    An entry that moves or converts its weights shares them only with pipelines of its own kind: the hooks that do so
    are set on the modules, in the order of one pipeline. An entry on several devices has denoisers of its own.
    """
    tuning = model.model_dump(mode="json", include=set(OF_THE_MODULES))
    options = {name: model.options.get(name) for name in OF_THE_WEIGHTS}
    source = model.source or ""
    # A folder has many paths, and an id of the hub is no path.
    if Path(source).exists():
        source = str(Path(source).resolve())
    return json.dumps([source, model.revision, tuning, options, _own_part(model)], sort_keys=True)


def _own_part(model: ModelSpec) -> list[str | None]:
    if not model.changes_modules:
        return []
    if model.offload in ("model", "group") or model.layerwise_casting is not None:
        return [model.offload, pipeline_key(model)]
    return [model.pipeline, denoisers_key(model)]


def calls_key(model: ModelSpec) -> str:
    """Returns equal texts for entries whose calls use the same modules, and count in one limit."""
    return f"{weights_key(model)} {denoisers_key(model)}"


def pipeline_key(model: ModelSpec) -> str:
    """Returns equal texts for entries that can call one pipeline object."""
    scheduler = None if model.scheduler is None else model.scheduler.model_dump(mode="json")
    second_stage = None if model.second_stage is None else model.second_stage.model_dump(mode="json")
    parts = [model.pipeline, second_stage, scheduler, model.options.get("flow_shift"), denoisers_key(model)]
    return json.dumps(parts, sort_keys=True)


def denoisers_key(model: ModelSpec) -> str:
    """Returns equal texts for entries that can call the same denoisers."""
    return json.dumps(model.model_dump(mode="json", include=set(OF_THE_DENOISERS)), sort_keys=True)


def without_tuning(model: ModelSpec) -> ModelSpec:
    """Returns the entry as its weights are loaded: what acts on the denoisers alone is left out."""
    if model.changes_modules:
        return model
    return model.model_copy(update={"step_cache": None, "attention": "native", "compile_blocks": False})


def twin(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy of the module that shares its weights, and has hooks and state of its own. Takes a moment."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)


def shared_components(pipeline: Any, kind: Any) -> dict[str, Any]:
    """Returns the components of a pipeline that another class takes too, except the scheduler, which is cheap."""
    names = component_names(kind) if is_modular(kind) else set(kind._get_signature_keys(kind)[0])
    # Those that a modular pipeline makes for itself are not read, and have settings of their class.
    found = {name: part for name, part in pipeline.components.items() if name in names - OF_EACH_PIPELINE}
    return {name: part for name, part in found.items() if part is not None}
