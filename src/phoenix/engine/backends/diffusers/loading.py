"""Loads a pipeline: reads and checks it, applies the options of its catalog entry, and makes it safe to share.

A process loads one pipeline at a time: two loads at a time would leave torch broken.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from phoenix.catalog.model import Lora, ModelSpec, StepCache
from phoenix.engine.backends.diffusers.calling import check_fits
from phoenix.engine.backends.diffusers.decoding import guard_vae
from phoenix.engine.backends.diffusers.folders import check_folder, get_folder, is_on_disk, unavailable
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory
from phoenix.engine.backends.diffusers.step_callbacks import hook_modules
from phoenix.engine.backends.diffusers.tokenizing import guard_tokenizer
from phoenix.engine.interface import ProcessUnfit
from phoenix.engine.stop_token import StopToken
from phoenix.errors import FailureCode, PhoenixError, Stage

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
    memory_bytes: int


def fetch_pipeline(model: ModelSpec, *, offline: bool) -> None:
    """Downloads missing files, so that the load only reads files. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    if not offline and not is_on_disk(model):
        _download(model)


def load_pipeline(model: ModelSpec, *, device: str, stop: StopToken) -> LoadedPipeline:
    """Loads the pipeline from safetensors on disk.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) with the reason, `ProcessUnfit`, or the out-of-memory error of torch.
    """
    folder = get_folder(model)
    check_folder(model, folder)
    with LOAD_LOCK:
        stop.check()
        pipeline = _read(model, folder)
        _check_health(pipeline, model)
        check_fits(model, pipeline)
        stop.check()
        apply_options(pipeline, model)
        place_on_device(pipeline, model, device)
    make_shareable(pipeline)
    hook_modules(pipeline.components)
    return LoadedPipeline(model, pipeline, memory_bytes=weight_bytes(pipeline, device))


def weight_bytes(pipeline: Any, device: str) -> int:
    """Returns the bytes of parameters and buffers on the device. Storage that several tensors share counts once."""
    kind = torch.device(device).type
    sizes: dict[tuple[str, int], int] = {}
    for _, tensor in _tensors(pipeline):
        storage = tensor.untyped_storage()
        if storage.device.type == kind:
            sizes[str(storage.device), storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def _import_diffusers() -> Any:
    """Call it with LOAD_LOCK: if two threads import diffusers for the first time, the import fails in one of them."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers  # noqa: PLC0415
        import transformers  # noqa: PLC0415

    for library in (cast("Any", diffusers), cast("Any", transformers)):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return cast("Any", diffusers)


def _download(model: ModelSpec) -> None:
    with LOAD_LOCK:
        diffusers = _import_diffusers()
    try:
        diffusers.DiffusionPipeline.download(model.source, revision=model.revision, use_safetensors=True)
    except Exception as error:
        raise unavailable(model, f"{model.source} cannot be downloaded: {_reason(error)}") from error


def _read(model: ModelSpec, folder: Path) -> Any:
    kind = _pipeline_class(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline = kind.from_pretrained(folder, dtype=_dtypes(model), use_safetensors=True, local_files_only=True)
    except PhoenixError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise unavailable(model, f"{folder} cannot be loaded: {_reason(error)}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _pipeline_class(model: ModelSpec) -> Any:
    """Returns the class that the catalog entry names, or the generic class, which finds the class in the folder."""
    diffusers = _import_diffusers()
    if model.pipeline is None:
        return diffusers.DiffusionPipeline
    kind = getattr(diffusers, model.pipeline, None)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.DiffusionPipeline):
        raise unavailable(model, f"diffusers has no pipeline {model.pipeline!r}")
    return kind


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


LATEST_FULL_STEPS = 3
"""`taylor_seer` skips no step before this: the first steps decide what the picture shows."""


def apply_options(pipeline: Any, model: ModelSpec) -> None:
    """Applies all options except the offload mode. Call it with LOAD_LOCK. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    if model.options.get("vae_tiling"):
        pipeline.vae.enable_tiling()
    if model.options.get("vae_slicing"):
        pipeline.vae.enable_slicing()
    if (flow_shift := model.options.get("flow_shift")) is not None:
        scheduler = pipeline.scheduler
        pipeline.scheduler = scheduler.__class__.from_config(scheduler.config, flow_shift=flow_shift)
    for lora in model.loras:
        _apply_option(model, f"the LoRA {lora.source}", lambda lora=lora: _fuse(pipeline, lora))
    for denoiser in _denoisers(pipeline):
        if (cache := model.step_cache) is not None:
            _apply_option(
                model, f"step_cache {cache.kind}", lambda it=denoiser, c=cache: it.enable_cache(_cache_config(c))
            )
        if model.compile_blocks:
            _apply_option(model, "compile_blocks", lambda it=denoiser: it.compile_repeated_blocks())


def place_on_device(pipeline: Any, model: ModelSpec, device: str) -> None:
    """Moves the pipeline to the device, or sets up offloading, which moves parts of it on demand."""
    match model.offload:
        case "auto" | "never":
            pipeline.to(device)
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "group":
            is_cuda = device.startswith("cuda")
            pipeline.enable_group_offload(
                onload_device=torch.device(device), offload_type="leaf_level", use_stream=is_cuda
            )


def _fuse(pipeline: Any, lora: Lora) -> None:
    """Fuses the LoRA into the weights, so that calls can share them."""
    source = Path(lora.source).expanduser()
    folder, name = (source.parent, source.name) if source.is_file() else (lora.source, lora.weight_name)
    if name is not None and not name.endswith(".safetensors"):
        # diffusers ignores `use_safetensors` when the file is named.
        raise ValueError(f"{name} is no safetensors file; other files are not loaded")
    pipeline.load_lora_weights(folder, weight_name=name, use_safetensors=True, local_files_only=True)
    pipeline.fuse_lora(lora_scale=lora.scale)
    pipeline.unload_lora_weights()


def _cache_config(cache: StepCache) -> Any:
    import diffusers  # noqa: PLC0415 (imported under LOAD_LOCK, like every import of it)

    library = cast("Any", diffusers)
    if cache.kind == "first_block":
        return library.FirstBlockCacheConfig(threshold=cache.threshold)
    return library.TaylorSeerCacheConfig(
        cache_interval=cache.interval, disable_cache_before_step=LATEST_FULL_STEPS, use_lite_mode=True
    )


def _denoisers(pipeline: Any) -> list[Any]:
    found = (getattr(pipeline, name, None) for name in ("transformer", "transformer_2"))
    return [denoiser for denoiser in found if denoiser is not None]


def _apply_option(model: ModelSpec, what: str, do: Callable[[], object]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            do()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise unavailable(model, f"{what} cannot be used: {reason[:300]}") from error


def make_shareable(pipeline: Any) -> None:
    """Adds locks to the components that have state during a call. Call it once after loading.

    A pipeline object that two threads call gives wrong clips, often without an error (diffusers issues 1606, 3672):
    each call gets a clone, and the clones share these components.
    """
    if getattr(pipeline, "vae", None) is not None:
        guard_vae(pipeline.vae)
    for name, component in pipeline.components.items():
        if name.startswith("tokenizer") and component is not None:
            guard_tokenizer(component, encoder=name.replace("tokenizer", "text_encoder"))
