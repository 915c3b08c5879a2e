"""Reads a modular pipeline from a folder, with the blocks of its class and nothing of the folder's own code.

diffusers would follow what the index of the folder says to other repositories and to any Python module, take the
blocks that it names, and only log a component that cannot be read.
"""

import functools
import importlib
import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.classes.roles import uses_of
from phoenix.engine.backends.diffusers.classes.signatures import default_blocks, is_modular
from phoenix.engine.backends.diffusers.folders import find_components, read_index, unavailable
from phoenix.engine.backends.diffusers.modular.loop_reports import report_loops
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory

LIBRARIES = ("diffusers", "transformers")

MEASURE = "vae"
"""A component that is read even if no block uses it: the pipeline takes the ratios of its latents from it."""

NEED_TORCHVISION = frozenset({"WanImageCropResizeStep"})
"""Blocks that fail with a `NameError` without it."""

NOT_NEEDED = frozenset({"duration_head"})
"""Components that a call does without: this one guesses the length of a clip, which every request gives."""


def read_modular(model: ModelSpec, folder: Path, kind: Any, dtypes: Mapping[str, torch.dtype], shared: Any) -> Any:
    """Returns a pipeline of the modular class. Reads the components that are not in `shared` from the folder.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) with the component that is missing, unknown or broken, or the out-of-memory
    error of torch.
    """
    # The blocks log each error that passes through them, with its traceback, though it is reported here.
    logging.getLogger("diffusers.modular_pipelines.modular_pipeline").setLevel(logging.CRITICAL)
    index = read_index(model, folder)
    _check_blocks(model, kind, index)
    pipeline = _encoding_both_prompts(kind)(blocks=default_blocks(kind))
    found, known = find_components(model, folder), pipeline._component_specs
    settings = {name: index[name] for name in pipeline._config_specs if name in index}
    pipeline.register_to_config(**settings)
    used = used_components(model, kind)
    present = {name for name in known if name in found or name in shared or getattr(pipeline, name) is not None}
    if missing := sorted(used - present - NOT_NEEDED):
        raise unavailable(model, f"the component {missing[0]!r} is missing from {folder}")
    for name, place in found.items():
        if name in used | {MEASURE} and name in known and name not in shared:
            dtype = dtypes.get(name, dtypes["default"])
            setattr(pipeline, name, _read_component(model, name, place.folder, _find_kind(model, name, place), dtype))
    for name, part in shared.items():
        setattr(pipeline, name, part)
    _enable_safety(model, pipeline)
    report_loops(pipeline)
    return pipeline


@functools.cache
def _encoding_both_prompts(kind: Any) -> Any:
    """Returns the class with a change: it encodes the negative prompt also for a guidance of 1, which ignores it.

    The text blocks of Wan, LTX and HunyuanVideo 1.5 would leave it out, and fail because it is missing.
    """
    return type(kind.__name__, (kind,), {"requires_unconditional_embeds": True, "__module__": kind.__module__})


def used_components(model: ModelSpec, kind: type) -> frozenset[str]:
    """Returns the names of the components that the blocks of a modular class use for the clips of the entry."""
    return frozenset(spec.name for blocks in _used_blocks(model, kind) for spec in blocks.expected_components)


def _used_blocks(model: ModelSpec, kind: type) -> list[Any]:
    """Returns the blocks that run for each kind of clip that the entry allows."""
    uses, blocks = uses_of(kind), default_blocks(kind)
    base = {"prompt": True} | {uses[role].argument: True for role in model.needed_roles}
    cases = [base, *(base | {uses[role].argument: True} for role in model.conditions)]
    return [blocks.get_execution_blocks(**case) for case in cases]


def lacks_components(pipeline: Any, model: ModelSpec, kind: type) -> bool:
    """Returns whether a modular pipeline was loaded without a component that the clips of this entry need."""
    needed = used_components(model, kind) - NOT_NEEDED if is_modular(kind) else ()
    return any(getattr(pipeline, name, None) is None for name in needed)


def _check_blocks(model: ModelSpec, kind: Any, index: Mapping[str, Any]) -> None:
    used = {type(block).__name__ for blocks in _used_blocks(model, kind) for block in blocks.sub_blocks.values()}
    if used & NEED_TORCHVISION and importlib.util.find_spec("torchvision") is None:
        raise unavailable(model, f"{kind.__name__} needs the package torchvision for these conditions")
    if "auto_map" in index:
        raise unavailable(model, "its folder asks for code of its own, which is not run")
    named, own = index.get("_blocks_class_name"), kind.default_blocks_name
    # A tree that somebody put together is saved under the name of the base class. diffusers also ignores that name.
    if named not in (None, own, "SequentialPipelineBlocks") and model.pipeline is None:
        raise unavailable(
            model,
            f"its folder asks for the blocks {named}, and {kind.__name__} has {own};"
            f' set pipeline = "{kind.__name__}" in its catalog entry to run those',
        )


def _enable_safety(model: ModelSpec, pipeline: Any) -> None:
    """Makes the safety checker that the settings of Cosmos 3 ask for. Without it, a clip would fail at its text."""
    if not pipeline.config.get("enable_safety_checker"):
        return
    try:
        pipeline.enable_safety_checker()
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise unavailable(model, f"its safety checker cannot be loaded: {reason[:300]}") from error


def _find_kind(model: ModelSpec, name: str, place: Any) -> Any:
    library, class_name = place.library, place.class_name
    diffusers: Any = importlib.import_module("diffusers")
    # A class of one pipeline alone is in its folder in diffusers, such as the vocoder of LTX-2.
    own = getattr(diffusers.pipelines, library, None)
    module = importlib.import_module(library) if library in LIBRARIES else own
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type) or not hasattr(kind, "from_pretrained"):
        raise unavailable(model, f"its component {name!r} is a {library}.{class_name}, and other code is not run")
    return kind


def _read_component(model: ModelSpec, name: str, folder: Path, kind: Any, dtype: torch.dtype) -> Any:
    read, asked = kind.from_pretrained, dict[str, Any](local_files_only=True)
    if issubclass(kind, torch.nn.Module):
        asked |= {"dtype": dtype, "use_safetensors": True}
    elif kind.__name__.startswith("Auto"):
        asked |= {"trust_remote_code": False}
    try:
        return read(folder, **asked)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise unavailable(model, f"its component {name!r} cannot be loaded: {reason[:300]}") from error
