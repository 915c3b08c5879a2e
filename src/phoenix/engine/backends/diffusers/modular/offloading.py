"""Offloading of a modular pipeline, which has no methods for it: its components move to the device on demand."""

import importlib
from typing import Any

import torch

HOOKS = "phoenix_offload_hooks"

LAST = ("vae", "audio_vae", "vocoder", "diffusion_decoder")
"""Components that come after the denoiser, though some of them also encode conditions before it."""


def offload_modular(pipeline: Any, device: str, *, whole: bool) -> None:
    """Lets a component come to the device when it is called: the whole of it, or else layer by layer."""
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    if whole:
        accelerate: Any = importlib.import_module("accelerate")
        hooks: list[Any] = []
        for name in sorted(parts, key=_place):
            # A component leaves the device when the one after it comes.
            before = hooks[-1] if hooks else None
            hooks.append(accelerate.cpu_offload_with_hook(parts[name], torch.device(device), before)[1])
        setattr(pipeline, HOOKS, hooks)
        return
    offloading: Any = importlib.import_module("diffusers.hooks")
    for part in parts.values():
        if not getattr(part, "_supports_group_offloading", True):
            part.to(device)
            continue
        offloading.apply_group_offloading(
            part, torch.device(device), offload_type="leaf_level", use_stream=device.startswith("cuda")
        )


def clean_after_call(pipeline: Any) -> None:
    """Does what a plain pipeline does at the end of a call: empties step caches, and frees the device."""
    for part in pipeline.components.values():
        if hasattr(part, "_reset_stateful_cache"):
            part._reset_stateful_cache()
    for hook in getattr(pipeline, HOOKS, ()):
        hook.offload()


def _place(name: str) -> int:
    if name.startswith(("text_encoder", "prompt_enhancer", "image_encoder")):
        return 0
    if name.startswith("transformer"):
        return 2
    return 3 if name in LAST else 1
