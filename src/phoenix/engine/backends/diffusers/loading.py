"""Loads a pipeline: reads and checks it, applies the options of its catalog entry, and makes it safe to share.

A process loads one pipeline at a time: two loads at a time would leave torch broken.
"""

import importlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Quantization
from phoenix.engine.backends.diffusers.adapters.files import AdapterPart
from phoenix.engine.backends.diffusers.adapters.sets import AdapterSets
from phoenix.engine.backends.diffusers.classes.guidance import check_guiders
from phoenix.engine.backends.diffusers.classes.outputs import OutputAdapter, find_output
from phoenix.engine.backends.diffusers.classes.pipeline_class import check_fits, check_parts, get_pipeline_class
from phoenix.engine.backends.diffusers.classes.signatures import is_modular
from phoenix.engine.backends.diffusers.classes.special_arguments import check_steps
from phoenix.engine.backends.diffusers.classes.two_stages import UPSAMPLER, read_upsampler
from phoenix.engine.backends.diffusers.decoding.vae_guard import guard_vae
from phoenix.engine.backends.diffusers.denoising.denoisers import NAMES, check_calls, denoisers_of, tune_denoisers
from phoenix.engine.backends.diffusers.folders import (
    check_folder,
    find_components,
    find_gguf,
    get_folder,
    is_modular_entry,
    is_on_disk,
    list_gguf_files,
    unavailable,
)
from phoenix.engine.backends.diffusers.modular.offloading import offload_modular
from phoenix.engine.backends.diffusers.modular.reading import lacks_components, read_modular
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory
from phoenix.engine.backends.diffusers.quantizing.gguf_denoisers import read_gguf_denoisers
from phoenix.engine.backends.diffusers.quantizing.weights import plain_tensors, quiet_import
from phoenix.engine.backends.diffusers.shared_weights import (
    OF_THE_WEIGHTS,
    denoisers_key,
    pipeline_key,
    shared_components,
    twin,
    without_tuning,
)
from phoenix.engine.backends.diffusers.step_callbacks import hook_modules
from phoenix.engine.backends.diffusers.tokenizing import guard_tokenizers
from phoenix.engine.backends.diffusers.tuning import apply_options, apply_scheduler
from phoenix.engine.host_memory import pinned_bytes
from phoenix.engine.interface import ProcessUnfit
from phoenix.engine.stop_token import StopToken
from phoenix.errors import FailureCode, PhoenixError, Stage
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

LOAD_LOCK = threading.RLock()
"""Taken for every import of diffusers, every load, and everything else that builds modules.

`from_pretrained` patches `nn.Module.register_parameter`: 80 of 80 loads that overlapped another load had parameters
without data, and the patch could stay in place (diffusers issue 14347).
"""

_REGISTER_PARAMETER = torch.nn.Module.register_parameter


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline on its device. Call a clone of `pipeline`, never `pipeline` itself."""

    model: ModelSpec
    pipeline: Any
    output: OutputAdapter
    memory_bytes: int
    """Bytes of its weights on the device."""
    host_bytes: int
    """Bytes of its weights in the memory of the machine."""
    others: dict[str, "LoadedPipeline"] = field(default_factory=dict[str, "LoadedPipeline"], repr=False)
    """The pipelines of other entries over the same weights, by the text of the entry."""
    adapter_sets: AdapterSets = field(default_factory=AdapterSets, repr=False)


def fetch_pipeline(model: ModelSpec, *, offline: bool) -> None:
    """Downloads missing files, so that the load only reads files. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    if offline:
        return
    if not is_on_disk(model):
        _download(model)
    for file in list_gguf_files(model):
        find_gguf(model, file, offline=False)


def load_pipeline(model: ModelSpec, *, device: str, stop: StopToken) -> LoadedPipeline:
    """Loads the pipeline from safetensors on disk.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) with the reason, `ProcessUnfit`, or the out-of-memory error of torch.
    """
    folder = get_folder(model)
    check_folder(model, folder)
    with LOAD_LOCK:
        stop.check()
        kind = get_pipeline_class(_import_diffusers(), model, folder)
        check_fits(model, kind)
        pipeline = _read(model, folder, kind, **read_gguf_denoisers(_import_diffusers(), model, folder))
        _check_health(pipeline, model)
        check_parts(model, pipeline)
        check_guiders(model, pipeline)
        check_steps(model, pipeline)
        output = find_output(model, pipeline)
        stop.check()
        apply_options(_import_diffusers(), pipeline, model, device)
        # The denoisers of other entries over these weights are copies of these, with settings of their own.
        loaded_as = without_tuning(model)
        check_calls(kind, pipeline, model)
        tune_denoisers(pipeline, loaded_as, device)
        place_on_device(pipeline, model, device)
    make_shareable(pipeline)
    hook_modules(pipeline.components)
    return LoadedPipeline(
        loaded_as,
        pipeline,
        output,
        memory_bytes=weight_bytes(pipeline, device),
        host_bytes=weight_bytes(pipeline, "cpu", is_pinned=model.offload == "group" and device.startswith("cuda")),
    )


def load_denoisers(model: ModelSpec, *, device: str) -> Any:
    """Returns a pipeline with the denoisers of the model alone, for a device that only takes part in its calls.

    Raises like `load_pipeline`, which has checked the model before.
    """
    folder = get_folder(model)
    model = _of_denoisers_alone(model)
    with LOAD_LOCK:
        kind = get_pipeline_class(_import_diffusers(), model, folder)
        absent = find_components(model, folder).keys() - {*NAMES, "scheduler"}
        given = {**dict.fromkeys(absent), **read_gguf_denoisers(_import_diffusers(), model, folder)}
        pipeline = _read(model, folder, kind, **given)
        _check_health(pipeline, model)
        apply_options(_import_diffusers(), pipeline, model, device)
        tune_denoisers(pipeline, model, device)
        pipeline.to(device)
    return pipeline


def _of_denoisers_alone(model: ModelSpec) -> ModelSpec:
    """Returns the entry without what it sets on other components."""
    options = {name: value for name, value in model.options.items() if name not in OF_THE_WEIGHTS}
    changes: dict[str, object] = {"options": options, "second_stage": None}
    if isinstance(quantization := model.quantization, Quantization) and quantization.kind != "gguf":
        is_of_denoisers = "denoisers" in quantization.components
        kept = quantization.model_copy(update={"components": ("denoisers",)})
        changes["quantization"] = kept if is_of_denoisers else None
    return model.model_copy(update=changes)


def pipeline_for(model: ModelSpec, loaded: LoadedPipeline, *, device: str) -> LoadedPipeline:
    """Returns the pipeline of an entry that shares the weights of `loaded`. Reads only components that it lacks.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) with the reason.
    """
    name = model.model_dump_json()
    known = loaded if model == loaded.model else loaded.others.get(name)
    # Without the lock, which another load may hold for minutes.
    if known is not None:
        return known
    with LOAD_LOCK:
        folder = get_folder(model)
        kind: Any = get_pipeline_class(_import_diffusers(), model, folder)
        check_fits(model, kind)
        check_calls(kind, loaded.pipeline, model)
        alike = [one for one in (loaded, *loaded.others.values()) if pipeline_key(one.model) == pipeline_key(model)]
        alike = [one for one in alike if not lacks_components(one.pipeline, model, kind)]
        if alike:
            check_steps(model, alike[0].pipeline)
            found = replace(alike[0], model=model)
        else:
            found = _build_beside(model, loaded, folder, kind, device)
        loaded.others[name] = found
        return found


def with_adapters(
    found: LoadedPipeline, weights: LoadedPipeline, parts: Sequence[AdapterPart], *, device: str
) -> LoadedPipeline:
    """Returns the pipeline `found` with these adapters in its denoisers. `weights` is the pipeline that was loaded.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) with the adapter and the reason.
    """
    sets, model = weights.adapter_sets, found.model
    tuning = denoisers_key(model)

    def tune(pipeline: Any) -> None:
        tune_denoisers(pipeline, model, device)

    # Without the lock, which another load may hold for minutes.
    pipeline = sets.find(found.pipeline, parts, tuning=tuning)
    if pipeline is None:
        with LOAD_LOCK:
            pipeline = sets.find(found.pipeline, parts, tuning=tuning)
            if pipeline is None:
                pipeline = sets.make(found.pipeline, weights.pipeline, model, parts, tuning=tuning, tune=tune)
    return replace(found, pipeline=pipeline)


def _build_beside(model: ModelSpec, loaded: LoadedPipeline, folder: Path, kind: Any, device: str) -> LoadedPipeline:
    shared = shared_components(loaded.pipeline, kind)
    pipeline = _read(model, folder, kind, **shared)
    _check_health(pipeline, model)
    check_parts(model, pipeline)
    check_guiders(model, pipeline)
    check_steps(model, pipeline)
    output = find_output(model, pipeline)
    apply_scheduler(_import_diffusers(), pipeline, model)
    denoisers = denoisers_of(pipeline)
    if denoisers_key(model) != denoisers_key(loaded.model) or not denoisers.keys() <= shared.keys():
        for name, denoiser in denoisers.items():
            setattr(pipeline, name, twin(denoiser))
        tune_denoisers(pipeline, model, device)
    added = {name: part for name, part in pipeline.components.items() if name not in shared}
    for part in added.values():
        if isinstance(part, torch.nn.Module):
            part.to(device)
    guard_tokenizers(added)
    hook_modules(added)
    return LoadedPipeline(model, pipeline, output, memory_bytes=0, host_bytes=0)


def weight_bytes(pipeline: Any, device: str, *, is_pinned: bool = False) -> int:
    """Returns the bytes of parameters and buffers on the device. Storage that several tensors share counts once.

    Pinned tensors of the machine's memory count with what the allocator adds to them.
    """
    kind = torch.device(device).type
    sizes: dict[tuple[str, int], int] = {}
    for _, tensor in _tensors(pipeline):
        for plain in plain_tensors(tensor):
            storage = plain.untyped_storage()
            if storage.device.type == kind:
                size_bytes = storage.nbytes()
                sizes[str(storage.device), storage.data_ptr()] = pinned_bytes(size_bytes) if is_pinned else size_bytes
    return sum(sizes.values())


def _import_diffusers() -> Any:
    """Call it with LOAD_LOCK: if two threads import diffusers for the first time, the import fails in one of them."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with quiet_import():
        import diffusers  # noqa: PLC0415
        import transformers  # noqa: PLC0415

    for library in (cast("Any", diffusers), cast("Any", transformers)):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return cast("Any", diffusers)


def _download(model: ModelSpec) -> None:
    if is_modular_entry(model):
        _pull(model)
        return
    with LOAD_LOCK:
        diffusers = _import_diffusers()
    try:
        diffusers.DiffusionPipeline.download(model.source, revision=model.revision, use_safetensors=True)
        if model.second_stage is not None:
            huggingface_hub = importlib.import_module("huggingface_hub")
            pattern = f"{model.second_stage.upsampler}/*"
            huggingface_hub.snapshot_download(model.source, revision=model.revision, allow_patterns=[pattern])
    except Exception as error:
        raise unavailable(model, f"{model.source} cannot be downloaded: {_reason(error)}") from error


def _pull(model: ModelSpec) -> None:
    """Downloads a modular pipeline: diffusers itself would download each component as it loads it."""
    from phoenix.engine.backends.diffusers.hub.pulling import PullFailed, pull  # noqa: PLC0415 (takes 300 ms)

    try:
        pull(model, notify=lambda line: _logger.info("download", model=model.id, detail=line))
    except PullFailed as failed:
        raise unavailable(model, str(failed)) from failed


def _read(model: ModelSpec, folder: Path, kind: Any, **shared: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_modular(kind):
                return read_modular(model, folder, kind, _dtypes(model), shared)
            if model.second_stage is not None and UPSAMPLER not in shared:
                dtype = _dtype(model, model.dtype)
                shared[UPSAMPLER] = read_upsampler(_import_diffusers(), model, folder, dtype)
            pipeline = kind.from_pretrained(
                folder, dtype=_dtypes(model), use_safetensors=True, local_files_only=True, **shared
            )
    except PhoenixError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise unavailable(model, f"{folder} cannot be loaded: {_reason(error)}") from error
    if model.second_stage is not None:
        pipeline.second_sigmas = model.second_stage.sigmas
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _dtypes(model: ModelSpec) -> dict[str, torch.dtype]:
    """Returns the dtypes for the load. A later cast would also convert the modules of Wan that stay in float32."""
    dtypes = {"default": _dtype(model, model.dtype)}
    vae = model.options.get("vae_dtype")
    return dtypes if vae is None else {**dtypes, "vae": _dtype(model, str(vae))}


def _dtype(model: ModelSpec, name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise unavailable(model, f"there is no dtype {name!r}")
    return found


def _check_health(pipeline: Any, model: ModelSpec) -> None:
    if torch.nn.Module.register_parameter is not _REGISTER_PARAMETER:
        raise ProcessUnfit(
            FailureCode.ENGINE_FAILED,
            "an earlier load failed in this process: torch was left patched",
            stage=Stage.LOAD,
            retriable=True,
        )
    for name, tensor in _tensors(pipeline):
        if tensor.is_meta:
            raise unavailable(model, f"its folder has no weights for {name}")
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            _check_no_random_weights(model, name, component)


def _check_no_random_weights(model: ModelSpec, name: str, component: torch.nn.Module) -> None:
    """Detects missing weights: transformers initialises them at random, and marks the weights that it did read."""
    parameters = dict(component.named_parameters())
    random_weights = [
        key for key, parameter in parameters.items() if not getattr(parameter, "_is_hf_initialized", False)
    ]
    if 0 < len(random_weights) < len(parameters):
        raise unavailable(model, f"its folder has no weights for {name}.{random_weights[0]}")


def _tensors(pipeline: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            yield from ((f"{name}.{key}", parameter) for key, parameter in component.named_parameters())
            yield from ((f"{name}.{key}", buffer) for key, buffer in component.named_buffers())


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:400]


def place_on_device(pipeline: Any, model: ModelSpec, device: str) -> None:
    """Moves the pipeline to the device, or sets up offloading, which moves parts of it on demand."""
    match model.offload:
        case "auto" | "never":
            pipeline.to(device)
        case _ if is_modular(pipeline.__class__):
            offload_modular(pipeline, device, whole=model.offload == "model")
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "group":
            is_cuda = device.startswith("cuda")
            pipeline.enable_group_offload(
                onload_device=torch.device(device), offload_type="leaf_level", use_stream=is_cuda
            )


def make_shareable(pipeline: Any) -> None:
    """Adds locks to the components that have state during a call. Call it once after loading.

    A pipeline object that two threads call gives wrong clips, often without an error (diffusers issues 1606, 3672):
    each call gets a clone, and the clones share these components.
    """
    if getattr(pipeline, "vae", None) is not None:
        guard_vae(pipeline.vae)
    guard_tokenizers(pipeline.components)
