"""Applies a catalog entry's options to a pipeline that was just loaded: LoRAs, caches, compilation, offloading."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from phoenix.catalog.model import Lora, ModelSpec, StepCache
from phoenix.engine.backends.diffusers.failures import is_out_of_memory
from phoenix.engine.backends.diffusers.folders import unavailable

LATEST_FULL_STEPS = 3
"""Steps before which `taylor_seer` skips nothing: the first ones decide what the picture shows."""


def apply_options(pipeline: Any, model: ModelSpec) -> None:
    """Applies all but placement; call with LOAD_LOCK held. Raises `TaskFailed` (MODEL_UNAVAILABLE) with the reason."""
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
    """Moves the pipeline to the device, or sets up offloading, which moves parts of it there when needed."""
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
    """Fuses the LoRA into the weights, which then stay plain weights that calls can share."""
    source = Path(lora.source).expanduser()
    folder, name = (source.parent, source.name) if source.is_file() else (lora.source, lora.weight_name)
    if name is not None and not name.endswith(".safetensors"):
        # diffusers heeds `use_safetensors` only where it may choose the file.
        raise ValueError(f"{name} is no safetensors file, and nothing else is loaded")
    pipeline.load_lora_weights(folder, weight_name=name, use_safetensors=True, local_files_only=True)
    pipeline.fuse_lora(lora_scale=lora.scale)
    pipeline.unload_lora_weights()


def _cache_config(cache: StepCache) -> Any:
    import diffusers  # noqa: PLC0415 (its import is serialised in `loading`)

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
