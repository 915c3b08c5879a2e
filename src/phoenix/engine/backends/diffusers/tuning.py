"""Applies the options of a catalog entry to a loaded pipeline: its scheduler, its LoRAs, and the parts of its VAE.

diffusers ignores much of what a class does not have, so that is checked here.
"""

import inspect
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Lora
from phoenix.engine.backends.diffusers.adapters.files import AdapterPart, activate, load_part
from phoenix.engine.backends.diffusers.denoising.denoisers import apply_option, cast_layerwise
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.engine.backends.diffusers.quantizing.weights import quantize_weights
from phoenix.engine.backends.diffusers.step_callbacks import DECODERS


def apply_options(diffusers: Any, pipeline: Any, model: ModelSpec, device: str) -> None:
    """Applies the options that all pipelines over these weights share, and the scheduler. Call it with LOAD_LOCK.

    Raises `TaskFailed` (MODEL_UNAVAILABLE).
    """
    if model.options.get("vae_tiling"):
        for name in DECODERS:
            if (decoder := getattr(pipeline, name, None)) is not None:
                decoder.enable_tiling()
    if model.options.get("vae_slicing"):
        pipeline.vae.enable_slicing()
    apply_scheduler(diffusers, pipeline, model)
    for lora in model.loras:
        _check_experts(pipeline, model, lora)
        if lora.is_fused:
            apply_option(model, f"the LoRA {lora.source}", lambda lora=lora: _fuse(pipeline, lora))
    quantize_weights(pipeline, model, device)
    parts = [part for lora in model.loras if not lora.is_fused for part in _parts_of(lora)]
    for part in parts:
        load_part(pipeline, model, part)
    if parts:
        activate(pipeline, parts)
    cast_layerwise(pipeline, model)


def apply_scheduler(diffusers: Any, pipeline: Any, model: ModelSpec) -> None:
    """Replaces the scheduler, if the entry asks for it. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    rule, settings = model.scheduler, dict[str, Any]()
    if getattr(pipeline, "scheduler", None) is None:
        if rule is not None or "flow_shift" in model.options:
            raise unavailable(model, f"{pipeline.__class__.__name__} has no scheduler; leave its settings out")
        return
    kind: Any = pipeline.scheduler.__class__
    if rule is not None:
        settings |= rule.settings
        kind = kind if rule.kind is None else _find_kind(diffusers, model, rule.kind)
    if (flow_shift := model.options.get("flow_shift")) is not None:
        settings["flow_shift"] = flow_shift
    _check_settings(model, kind, settings)
    if kind is not pipeline.scheduler.__class__ or settings:
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **settings)
    if "sigmas" in model.options and "sigmas" not in _parameters(kind.set_timesteps):
        raise unavailable(model, f"its {kind.__name__} takes no sigmas; choose another scheduler in its entry")


def _find_kind(diffusers: Any, model: ModelSpec, name: str) -> Any:
    kind = getattr(diffusers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        raise unavailable(model, f"diffusers has no scheduler {name!r}")
    return cast("Any", kind)


def _check_settings(model: ModelSpec, kind: Any, settings: dict[str, Any]) -> None:
    known = _parameters(kind.__init__)
    for name in settings:
        if name not in known:
            instead = "; set `shift` in scheduler.settings" if name == "flow_shift" and "shift" in known else ""
            raise unavailable(model, f"its {kind.__name__} has no {name!r}, which would change nothing{instead}")


def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) - {"self"}


def _fuse(pipeline: Any, lora: Lora) -> None:
    """Fuses the LoRA into the weights, so that calls can share them."""
    source = Path(lora.source).expanduser()
    folder, name = (source.parent, source.name) if source.is_file() else (lora.source, lora.weight_name)
    if name is not None and not name.endswith(".safetensors"):
        # diffusers ignores `use_safetensors` when the file is named.
        raise ValueError(f"{name} is no safetensors file; other files are not loaded")
    reading = {"weight_name": name, "use_safetensors": True, "local_files_only": True}
    for expert in ("transformer", "transformer_2") if lora.component == "both" else (lora.component,):
        into = {"load_into_transformer_2": True} if expert == "transformer_2" else {}
        pipeline.load_lora_weights(folder, **reading, **into)
        # diffusers fuses the first expert alone, unless its arguments name the other.
        pipeline.fuse_lora(lora_scale=lora.scale, **({"components": [expert]} if expert else {}))
        pipeline.unload_lora_weights()


def _parts_of(lora: Lora) -> list[AdapterPart]:
    path = Path(lora.source).expanduser()
    path = path if lora.weight_name is None else path / lora.weight_name
    experts: tuple[Literal["transformer", "transformer_2"], ...] = ("transformer", "transformer_2")
    components = experts if lora.component == "both" else (lora.component or "transformer",)
    name = f"lora_{sha256(str(path).encode()).hexdigest()[:16]}"
    return [AdapterPart(name, lora.source, path, component, lora.scale) for component in components]


def _check_experts(pipeline: Any, model: ModelSpec, lora: Lora) -> None:
    """Of two experts, each makes a part of the steps: a LoRA in one of them would change half of a clip, silently."""
    has_two = getattr(pipeline, "transformer_2", None) is not None
    if has_two and lora.component is None:
        raise unavailable(model, f"it has two experts: say to which component the LoRA {lora.source} belongs")
    if not has_two and lora.component in ("transformer_2", "both"):
        raise unavailable(model, f"it has one expert: the LoRA {lora.source} cannot belong to {lora.component}")
