"""The step caches of diffusers: their configuration, where each of them acts, and whether it skipped anything."""

import importlib
import inspect
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import StepCache
from phoenix.engine.backends.diffusers.classes.signatures import is_modular
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

THRESHOLDS = {"first_block": 0.08, "mag_cache": 0.06, "sea_cache": 0.25}
INTERVALS = {"taylor_seer": 3, "pyramid_attention": 2}

LATEST_FULL_STEPS = 3
"""`taylor_seer` skips no step before this: the first steps decide what the picture shows."""

PYRAMID_TIMESTEPS = (100, 800)
"""Where `pyramid_attention` acts, of 1000: the authors found that attention changes most at both ends."""

BLOCK_LISTS = ("blocks", "transformer_blocks", "single_transformer_blocks", "layers", "temporal_transformer_blocks")
"""Where the caches of diffusers look for blocks."""

FEWEST_STEPS_TO_JUDGE = 8
"""A cache may skip nothing of a shorter clip, and be none the worse for it."""


def enable_step_cache(denoisers: Sequence[Any], model: ModelSpec) -> None:
    """Enables the cache of the entry. Raises `ValueError` with the reason, if it would not act."""
    cache = model.step_cache
    assert cache is not None
    for denoiser in denoisers:
        denoiser.enable_cache(_config(cache, denoiser, steps=model.steps.default))
        if not any(_is_hooked(part) for part in denoiser.modules() if part is not denoiser):
            raise ValueError(f"it finds no blocks in {type(denoiser).__name__}, and would change nothing")


def fit_step_cache(denoisers: Sequence[Any], model: ModelSpec, steps: int) -> None:
    """Fits the cache to the number of steps of a call. Only `mag_cache` depends on it."""
    cache = model.step_cache
    if cache is None or cache.kind != "mag_cache":
        return
    for denoiser in denoisers:
        if denoiser._cache_config.num_inference_steps != steps:
            denoiser.disable_cache()
            denoiser.enable_cache(_config(cache, denoiser, steps=steps))


def check_step_cache(kind: Any, denoisers: Sequence[Any], model: ModelSpec) -> None:
    """Raises `ValueError` with the reason, if the cache of the entry would act wrongly in calls of this class.

    Only the source of a class shows which calls of its denoiser it groups for a cache.
    """
    cache = model.step_cache
    if cache is None:
        return
    if is_modular(kind):
        raise ValueError(f"{kind.__name__} is a modular pipeline, and step caches are fitted to the plain classes")
    source = inspect.getsource(kind.__call__)
    if "cache_context(" not in source:
        raise ValueError(f"{kind.__name__} does not tell a cache which calls of its denoiser belong together")
    if cache.kind == "sea_cache" and ("cache_context_kwargs" not in source and "step_index=" not in source):
        raise ValueError(f"{kind.__name__} does not tell it the step")
    if cache.kind == "mag_cache" and len(denoisers) > 1:
        raise ValueError("its ratios count all steps, and each of the two experts makes only a part of them")
    # It keeps one result per layer: the second of two calls in a step would get the result of the first.
    if cache.kind == "pyramid_attention" and '"uncond"' in source and model.guidance_scale.maximum > 1:
        raise ValueError(
            f"{kind.__name__} computes guidance in a second call, which would get the attention of the first;"
            " it needs guidance_scale.maximum = 1"
        )


def _config(cache: StepCache, denoiser: Any, *, steps: int) -> Any:
    threshold = cache.threshold or THRESHOLDS.get(cache.kind)
    interval = cache.interval or INTERVALS.get(cache.kind)
    # Not at the start of this file: two threads that import it at a time would fail.
    diffusers: Any = importlib.import_module("diffusers")
    match cache.kind:
        case "first_block":
            return diffusers.FirstBlockCacheConfig(threshold=threshold)
        case "taylor_seer":
            # Without the lite mode it looks for names of modules that Wan does not have, and hooks nothing.
            return diffusers.TaylorSeerCacheConfig(
                cache_interval=interval, disable_cache_before_step=LATEST_FULL_STEPS, use_lite_mode=True
            )
        case "mag_cache":
            ratios = torch.tensor(cache.ratios)
            return diffusers.MagCacheConfig(threshold=threshold, num_inference_steps=steps, mag_ratios=ratios)
        case "sea_cache":
            return diffusers.SeaCacheConfig(threshold=threshold)
        case "pyramid_attention":
            return diffusers.PyramidAttentionBroadcastConfig(
                spatial_attention_block_skip_range=interval,
                cross_attention_block_skip_range=interval,
                spatial_attention_timestep_skip_range=PYRAMID_TIMESTEPS,
                cross_attention_timestep_skip_range=PYRAMID_TIMESTEPS,
                current_timestep_callback=_timestep_of(denoiser),
            )


def _timestep_of(denoiser: Any) -> Any:
    """Returns a function that gives the timestep of the current call of the denoiser.

    The attribute of the pipeline that diffusers suggests is on a copy of the pipeline for each call.
    """
    latest: list[float] = [0.0]

    def read(_module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        timestep = named["timestep"] if "timestep" in named else inputs[1]
        latest[0] = float(timestep.max()) if isinstance(timestep, torch.Tensor) else float(timestep)

    denoiser.register_forward_pre_hook(read, with_kwargs=True)
    return lambda: latest[0]


def _is_hooked(module: Any) -> bool:
    registry = getattr(module, "_diffusers_hook", None)
    return registry is not None and bool(registry.hooks)


@dataclass
class CacheUse:
    """How often the denoisers were called, and how often their last block was computed."""

    calls: int = 0
    block_runs: int = 0

    @property
    def skipped_share(self) -> float:
        return 1 - self.block_runs / self.calls if self.calls else 0.0


@contextmanager
def counting_block_runs(denoisers: Sequence[Any]) -> Generator[CacheUse]:
    """Counts within the block. A skipped block is still called: what counts is a layer of attention inside it."""
    use = CacheUse()

    def count_call(*_: Any) -> None:
        use.calls += 1

    def count_run(*_: Any) -> None:
        use.block_runs += 1

    with ExitStack() as hooks:
        for denoiser in denoisers:
            hooks.callback(denoiser.register_forward_pre_hook(count_call).remove)
            hooks.callback(_layer_of_last_block(denoiser).register_forward_pre_hook(count_run).remove)
        yield use


def report_cache_use(model: ModelSpec, use: CacheUse, *, steps: int) -> None:
    """Logs what a cache skipped, as a warning if it was nothing."""
    assert model.step_cache is not None
    fields = {"model": model.id, "step_cache": model.step_cache.kind, "steps": steps}
    if use.calls >= FEWEST_STEPS_TO_JUDGE and use.block_runs >= use.calls:
        _logger.warning("a step cache skipped nothing: try a larger threshold or another kind", **fields)
    else:
        _logger.info("a step cache skipped blocks", skipped_share=round(use.skipped_share, 3), **fields)


def _layer_of_last_block(denoiser: Any) -> torch.nn.Module:
    lists = [part for name, part in denoiser.named_children() if name in BLOCK_LISTS]
    block = lists[-1][-1]
    layers = [part for name, part in block.named_modules() if "attn" in name and isinstance(part, torch.nn.Linear)] or [
        part for part in block.modules() if isinstance(part, torch.nn.Linear)
    ]
    return layers[0]
