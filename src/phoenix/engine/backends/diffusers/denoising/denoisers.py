"""What an entry sets on its denoisers: the kernel of attention, a step cache, compiled blocks, and casting by layer.

diffusers accepts much that then changes nothing, so each setting is checked to act.
"""

import importlib
import inspect
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.denoising.step_caches import (
    check_step_cache,
    counting_block_runs,
    enable_step_cache,
    fit_step_cache,
    report_cache_use,
)
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory
from phoenix.errors import TaskFailed

KERNELS = "diffusers.models.attention_dispatch"

NAMES = ("transformer", "transformer_2", "unet", "dit")
"""Wan 2.2 has two, for the early and the late steps."""


def denoisers_of(pipeline: Any) -> dict[str, Any]:
    found = {name: getattr(pipeline, name, None) for name in NAMES}
    return {name: denoiser for name, denoiser in found.items() if denoiser is not None}


def tune_denoisers(pipeline: Any, model: ModelSpec, device: str) -> None:
    """Applies the settings of the entry to the denoisers of the pipeline, which share no modules with other pipelines.

    Call it with LOAD_LOCK. Raises `TaskFailed` (MODEL_UNAVAILABLE) for a setting that cannot be applied, or that would
    change nothing.
    """
    denoisers = denoisers_of(pipeline)
    for denoiser in denoisers.values():
        if model.attention != "native":
            what = f"attention {model.attention}"
            apply_option(model, what, lambda it=denoiser: try_attention(model, device, has_mask=_takes_mask(it)))
        _set_attention(model, denoiser)
        if model.compile_blocks:
            apply_option(model, "compile_blocks", lambda it=denoiser: it.compile_repeated_blocks())
    if (cache := model.step_cache) is not None:
        apply_option(model, f"step_cache {cache.kind}", lambda: enable_step_cache(list(denoisers.values()), model))


def check_calls(kind: Any, pipeline: Any, model: ModelSpec) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the entry's step cache would act wrongly in calls of the class `kind`.

    `pipeline` has the denoisers. Two entries may use one cache with different limits: check each of them.
    """
    if model.step_cache is not None:
        denoisers = list(denoisers_of(pipeline).values())
        what = f"step_cache {model.step_cache.kind}"
        apply_option(model, what, lambda: check_step_cache(kind, denoisers, model))


@contextmanager
def step_cache_of_call(pipeline: Any, model: ModelSpec, *, steps: int) -> Generator[None]:
    """Covers a call of the pipeline: fits the step cache to its steps, and reports what the cache skipped."""
    if model.step_cache is None:
        yield
        return
    denoisers = list(denoisers_of(pipeline).values())
    fit_step_cache(denoisers, model, steps)
    # A hook inside a compiled block would be compiled with it.
    if model.compile_blocks:
        yield
        return
    with counting_block_runs(denoisers) as use:
        yield
    report_cache_use(model, use, steps=steps)


def cast_layerwise(pipeline: Any, model: ModelSpec) -> None:
    """Stores the weights of the denoisers in the smaller type that the entry names, and converts them layer by layer.

    Call it after fine-tunes are fused. Raises `TaskFailed` (MODEL_UNAVAILABLE).
    """
    if model.layerwise_casting is None:
        return
    stored, computed = getattr(torch, model.layerwise_casting), getattr(torch, model.dtype)
    for denoiser in denoisers_of(pipeline).values():
        apply_option(
            model,
            f"layerwise_casting {model.layerwise_casting}",
            lambda it=denoiser: it.enable_layerwise_casting(storage_dtype=stored, compute_dtype=computed),
        )
        if not any(weights.dtype is stored for weights in denoiser.parameters()):
            raise unavailable(model, f"{type(denoiser).__name__} has no layers that layerwise_casting reaches")


def apply_option(model: ModelSpec, what: str, do: Callable[[], object]) -> None:
    """Applies one option. Raises `TaskFailed` (MODEL_UNAVAILABLE) with its name and the reason, if it fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            do()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise unavailable(model, f"{what} cannot be used: {reason[:300]}") from error


def try_attention(model: ModelSpec, device: str, *, has_mask: bool) -> None:
    """Computes a small attention: most backends fail only in their first call, after the text of a clip.

    Raises what the backend raises, if it cannot act. Call it with LOAD_LOCK.
    """
    kernels: Any = importlib.import_module(KERNELS)
    # Rows, tokens, heads, and the values of a head.
    values = torch.zeros(1, 16, 2, 64, dtype=getattr(torch, model.dtype), device=device)
    mask = torch.zeros(1, 1, 1, 16, dtype=values.dtype, device=device) if has_mask else None
    backend = kernels.AttentionBackendName(model.attention)
    kernels.dispatch_attention_fn(values, values, values, attn_mask=mask, backend=backend)


def find_attention_refusal(model: ModelSpec, device: str) -> str | None:
    """Returns why the attention of the entry cannot act on the device, with or without a mask; None if it can."""
    for has_mask in (False, True):
        try:
            apply_option(model, "attention", lambda has_mask=has_mask: try_attention(model, device, has_mask=has_mask))
        except TaskFailed as failed:
            return failed.detail
    return None


def _takes_mask(denoiser: Any) -> bool:
    """LTX and HunyuanVideo mask the padding of the text."""
    return "encoder_attention_mask" in inspect.signature(denoiser.forward).parameters


def _set_attention(model: ModelSpec, denoiser: Any) -> None:
    """Sets the backend on every layer: a layer without one of its own takes the latest that was set on any model."""
    if not hasattr(denoiser, "set_attention_backend"):
        if model.attention != "native":
            raise unavailable(model, f"{type(denoiser).__name__} has no attention that can be chosen")
        return
    kernels: Any = importlib.import_module(KERNELS)
    backend = kernels.AttentionBackendName(model.attention)
    processors: list[Any] = [getattr(part, "processor", None) for part in denoiser.modules()]
    choosing = [processor for processor in processors if hasattr(processor, "_attention_backend")]
    if model.attention == "native":
        # Some classes come with a backend of their own, without which they fail.
        for processor in choosing:
            processor._attention_backend = processor._attention_backend or backend
        return
    if not choosing:
        raise unavailable(model, f"{type(denoiser).__name__} has no attention that can be chosen")
    apply_option(model, f"attention {model.attention}", lambda: denoiser.set_attention_backend(model.attention))
    kernels._AttentionBackendRegistry.set_active_backend(kernels.AttentionBackendName.NATIVE)
